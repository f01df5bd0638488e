import os
import subprocess
import sys
import tempfile
import textwrap

import pytest

import weir
import weir.testing
from conftest import eventually


@weir.job()
def greet(name: str) -> str:
    if name == "nobody":
        raise ValueError("who?")
    return "hello " + name


@weir.job()
async def greet_later(name: str) -> str:
    return "later, " + name


def test_jobs_are_worked_inline(client, queue):
    handles = [client.enqueue(k.new("ann").but(queue=queue)) for k in (greet, greet_later)]
    worked = weir.testing.work(client, [greet, greet_later], queues=[queue])
    assert [(job.id, outcome) for job, outcome in worked] == [(h.id, "complete") for h in handles]
    assert [h.wait(0) for h in handles] == ["hello ann", "later, ann"]
    assert weir.testing.work(client, [greet], queues=[queue]) == []


def test_failures_of_inline_jobs_are_raised(client, queue):
    client.enqueue(greet.new("nobody").but(queue=queue, max_attempts=1))
    with pytest.raises(AssertionError, match="who?"):
        weir.testing.work(client, [greet], queues=[queue])
    client.enqueue(greet.new("nobody").but(queue=queue, max_attempts=1))
    assert [outcome for _, outcome in weir.testing.work(client, [greet], queues=[queue], raises=False)] == ["fail"]


def test_server_ends_with_the_program_that_started_it():
    """Even with one that is killed; and it leaves no folder behind."""
    with tempfile.TemporaryDirectory() as temp:
        os.chmod(temp, 0o755)
        program = textwrap.dedent("""
            import os, signal, weir.testing
            server = weir.testing.Server()
            print(server.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """)
        env = {**os.environ, "TMPDIR": temp, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        subprocess.run([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE)
        eventually("the folder is gone", lambda: not os.listdir(temp))
