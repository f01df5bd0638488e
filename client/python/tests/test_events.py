"""Events over SQL: the same iterator as over REST."""

import threading

import pytest

import weir
from conftest import eventually


@weir.job()
def double(n: int) -> int:
    return 2 * n


def test_events_over_sql_come_once_and_go_on(server, queue):
    with server.sql() as client, server.sql() as watcher:
        seen = []

        def watch():
            for event in watcher.events(queue=queue, event=["completed", "enqueued"]):
                seen.append(event)
        threading.Thread(target=watch, daemon=True).start()
        eventually("an event comes", lambda: client.enqueue(double.new(1).but(queue=queue)) and seen)
        client.enqueue(double.new(1).but(queue=queue + "-other"))
        handle = client.enqueue(double.new(1).but(queue=queue))
        weir.testing.work(client, [double], queues=[queue])
        told = eventually("its end is told", lambda: [e for e in seen if e.data["job_id"] == str(handle.id)][1:])
        assert [e.name for e in told] == ["completed"] and {e.data["queue"] for e in seen} == {queue}
        assert len({(e.name, e.data["job_id"]) for e in seen}) == len(seen)
    with server.sql() as client:
        enqueued = next(e for e in seen if e.data["job_id"] == str(handle.id))
        after = client.events(job_id=handle.id, after=enqueued.id)
        assert next(e.name for e in after if e.name != "started") == "completed"


@pytest.mark.parametrize("filter", [{"after": "x"}, {"event": ["worker_lost"]}])
def test_events_over_sql_say_what_they_refuse(server, filter):
    with server.sql() as client, pytest.raises(weir.WeirError) as e:
        next(client.events(**filter))
    assert e.value.code == "invalid_argument"


def test_events_are_of_one_queue_or_of_all(client):
    with pytest.raises(ValueError, match="one queue"):
        client.events(queue=["a", "b"])
