"""Workers and nodes that die in the middle."""

import collections
import signal

import pytest

import weir
from conftest import PATIENCE, Node, Program, eventually, settled

JOBS = 10_000


def rows(server, sql, *args):
    with server.sql() as client:
        return client.rows(sql, args)


def ended(server, queue):
    states = rows(server, "select state::text, count(*) as n from weir.jobs where queue = %s group by 1", queue)
    return {r["state"]: r["n"] for r in states}


def address(server, transport):
    return server.url if transport == "http" else server.dsn


@pytest.mark.parametrize("transport", ["http", "sql"])
def test_ten_thousand_jobs_are_completed_once_each(server, queue, transport, tmp_path):
    workers = [Program(transport, address(server, transport), queue, tmp_path) for _ in range(2)]
    with server.http() as client:
        client.enqueue_many([weir.NewJob("count", {"n": i}, {"queue": queue}) for i in range(JOBS)])
    eventually("all are completed", lambda: ended(server, queue) == {"completed": JOBS})
    assert [w.end(signal.SIGTERM) for w in workers] == [0, 0]
    runs = collections.Counter(line.split()[0] for line in (tmp_path / "runs").read_text().splitlines())
    assert len(runs) == JOBS and set(runs.values()) == {1}
    assert rows(server, "select count(*) as n from weir.jobs where queue = %s and attempt <> 1", queue)[0]["n"] == 0


@pytest.mark.parametrize("transport", ["http", "sql"])
def test_killed_worker_s_jobs_are_done_by_another(server, queue, transport, tmp_path):
    doomed = Program(transport, address(server, transport), queue, tmp_path)
    with server.http() as client:
        naps = client.enqueue_many([weir.NewJob("nap", {"length": 1}, {"queue": queue}) for _ in range(4)])
        eventually("they run", lambda: (tmp_path / "naps").exists() and len((tmp_path / "naps").read_text().splitlines()) == 4)
        doomed.end(signal.SIGKILL)
        counts = client.enqueue_many([weir.NewJob("count", {"n": i}, {"queue": queue}) for i in range(200)])
        heir = Program(transport, address(server, transport), queue, tmp_path)
        for h in [*naps, *counts]:
            h.wait(PATIENCE)
        assert heir.end(signal.SIGTERM) == 0
        assert {client.get(h.id)["attempt"] for h in naps} == {2}  # the first was lost


@pytest.mark.parametrize("transport", ["http", "sql"])
def test_worker_that_is_told_to_end_gives_its_jobs_back(server, queue, transport, tmp_path):
    worker = Program(transport, address(server, transport), queue, tmp_path)
    with server.http() as client:
        handle = client.enqueue(weir.NewJob("nap", {"length": PATIENCE}, {"queue": queue}))
        settled(client, handle, "running")
        assert worker.end(signal.SIGTERM) == 0
        job = client.get(handle.id)
        assert (job["state"], job["attempt"]) == ("available", 0)
        client.cancel(handle.id)


def test_worker_outlives_its_node(server, queue, tmp_path):
    node = Node(server)
    try:
        worker = Program("http", node.url, queue, tmp_path)
        with server.http() as client:
            client.enqueue_many([weir.NewJob("count", {"n": i}, {"queue": queue}) for i in range(3000)])
            for least in (300, 1200):
                eventually("some are completed", lambda: ended(server, queue).get("completed", 0) >= least)
                node.kill()
                node.start()
            eventually("all are completed", lambda: ended(server, queue) == {"completed": 3000})
        assert worker.end(signal.SIGTERM) == 0
    finally:
        node.kill()
    assert {int(line.split()[0]) for line in (tmp_path / "runs").read_text().splitlines()} == set(range(3000))


def test_sql_worker_outlives_its_connections(server, queue, tmp_path):
    worker = Program("sql", server.dsn, queue, tmp_path)
    with server.http() as client:
        client.enqueue_many([weir.NewJob("count", {"n": i}, {"queue": queue}) for i in range(3000)])
        for least in (300, 1200):
            eventually("some are completed", lambda: ended(server, queue).get("completed", 0) >= least)
            rows(server, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'weir-python' and pid <> pg_backend_pid()")
        eventually("all are completed", lambda: ended(server, queue) == {"completed": 3000})
    assert worker.end(signal.SIGTERM) == 0
    assert {int(line.split()[0]) for line in (tmp_path / "runs").read_text().splitlines()} == set(range(3000))
