"""Enqueueing and completing in the application's own transaction, with each driver."""

import asyncio

import psycopg
import psycopg2
import pytest
from psycopg.rows import dict_row

import weir
from conftest import PATIENCE, settled


@weir.job()
def mail(order: int) -> None: ...


def connect_3(dsn):
    return psycopg.connect(dsn, row_factory=dict_row)


@pytest.fixture(params=[psycopg.connect, connect_3, psycopg2.connect], ids=["psycopg", "psycopg-dicts", "psycopg2"])
def connect(request, server):
    return lambda: request.param(server.dsn)


def ids_in(server, queue):
    with server.sql() as sql:
        return [r["id"] for r in sql.rows("select id from weir.jobs where queue = %s order by id", [queue])]


def test_job_is_enqueued_with_its_transaction(server, connect, queue):
    connection = connect()
    weir.sql.enqueue(connection, mail.new(1).but(queue=queue))
    assert ids_in(server, queue) == []
    connection.rollback()
    one = weir.sql.enqueue(connection, mail.new(2).but(queue=queue))
    rest = weir.sql.enqueue_many(connection, [mail.new(i).but(queue=queue) for i in range(3)])
    flow = weir.Workflow("w")
    flow.step("a", mail.new(9).but(queue=queue))
    weir.sql.submit(connection, flow)
    connection.commit()
    connection.close()
    assert ids_in(server, queue)[:4] == [one, *rest] and len(ids_in(server, queue)) == 5


def test_refusal_is_weir_s_error(connect, queue):
    connection = connect()
    with pytest.raises(weir.WeirError, match=r"priority") as e:
        weir.sql.enqueue(connection, mail.new(1).but(queue=queue, priority=99))
    assert e.value.code == "invalid_argument" and e.value.problem["field"] == "jobs[0].priority"
    connection.rollback()
    weir.sql.enqueue(connection, mail.new(1).but(queue=queue))
    connection.close()


def test_asyncio_connection(server, queue):
    async def main():
        async with await psycopg.AsyncConnection.connect(server.dsn) as connection:
            id = await weir.sql.enqueue(connection, mail.new(1).but(queue=queue))
            with pytest.raises(weir.WeirError):
                async with connection.transaction():
                    await weir.sql.enqueue(connection, mail.new(1).but(queue=queue, priority=99))
            return id
    id = asyncio.run(main())
    assert ids_in(server, queue) == [id]


@pytest.mark.parametrize("transport", ["http", "sql"])
def test_effects_commit_with_the_completion(server, connect, queue, transport):
    table = "t_" + queue.replace("-", "_")
    with psycopg.connect(server.dsn, autocommit=True) as db:
        db.execute(f"create table {table} (n int)")

    @weir.job(queue=queue, max_attempts=2, retry={"strategy": "fixed", "base_seconds": 0, "jitter": False})
    def effect(job: weir.Job, n: int, fails: bool) -> dict:
        connection = connect()
        try:
            connection.cursor().execute(f"insert into {table} values (%s)", [n])
            job.complete_in(connection, {"n": n})
            if fails and job.attempt == 1:
                raise RuntimeError("after the completion")
            connection.commit()
        finally:
            connection.close()

    # The server asks for no key, so tokens are plain numbers over REST too.
    with (weir.HTTP(server.url) if transport == "http" else server.sql()) as client:
        with weir.Worker(client, [effect], lease=5, middleware=()):
            handles = [client.enqueue(effect.new(1, False)), client.enqueue(effect.new(2, True))]
            assert [h.wait(PATIENCE) for h in handles] == [{"n": 1}, {"n": 2}]
        assert [client.get(h.id)["attempt"] for h in handles] == [1, 2]
    with psycopg.connect(server.dsn) as db:
        assert db.execute(f"select n from {table} order by n").fetchall() == [(1,), (2,)]


def test_asyncio_handler_completes_in_its_transaction_and_keeps_its_log(server, queue):
    @weir.job(queue=queue)
    async def effect(job: weir.Job) -> int:
        job.log("before the end")
        async with await psycopg.AsyncConnection.connect(server.dsn) as connection:
            await job.complete_in(connection, 7)
        return 7

    with server.sql() as client, weir.Worker(client, [effect], lease=5, middleware=()):
        handle = client.enqueue(effect.new())
        assert handle.wait(PATIENCE) == 7
        assert [r["message"] for r in client.rows("select message from weir.job_logs where job_id = %s", [handle.id])] == ["before the end"]


def test_stale_token_rolls_the_effects_back(server, connect, queue):
    runs, seen = [], []

    @weir.job(queue=queue)
    def late(job: weir.Job) -> None:
        runs.append(job.attempt)
        if len(runs) > 1:
            return
        with server.http() as http:
            http.call("DELETE", f"/v1/workers/{queue}")
        connection = connect()
        try:
            weir.sql.enqueue(connection, mail.new(1).but(queue=queue + "-next"))
            job.complete_in(connection)
            connection.commit()
        except weir.StaleToken as e:
            seen.append(e.code)
            connection.rollback()
            raise
        finally:
            connection.close()

    with server.sql() as client, weir.Worker(client, [late], lease=5, name=queue, middleware=()):
        settled(client, client.enqueue(late.new()), "completed")
    assert seen == ["stale_token"] and ids_in(server, queue + "-next") == []


def test_sealed_token_is_explained(server, queue):
    job = weir.Job.from_claim({"id": "1", "token": "1.abc", "kind": "x", "queue": queue, "attempt": 1, "max_attempts": 1, "priority": 5,
                               "timeout_seconds": 1, "created_at": "2026-01-01T00:00:00Z", "args": {}}, None)
    with psycopg.connect(server.dsn) as connection, pytest.raises(weir.WeirError, match="over SQL"):
        job.complete_in(connection)
