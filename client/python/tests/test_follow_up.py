"""What a handler adds with its completion: follow-up jobs and steps, over REST and over SQL."""

from contextlib import contextmanager

import psycopg
import pytest

import weir
from conftest import PATIENCE, eventually, settled, working


@weir.job()
def after(n: int) -> None:
    pass


@pytest.fixture
def db(server):
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        yield connection


def stored(db, queue):
    return db.execute("select (args ->> 'n')::int, tenant, parent_id from weir.jobs where queue = %s order by id", [queue]).fetchall()


@contextmanager
def decided(client, queue, function, outcomes=None):
    """Works with one handler, and yields its kind."""
    kind = weir.job("decide", queue=queue)(function)
    with working(client, kind, on_end=lambda job, outcome: outcomes.append(outcome) if outcomes is not None else None):
        yield kind


def test_handlers_enqueue_follow_up_jobs(client, queue, db):
    def decide(job: weir.Job) -> str:
        job.enqueue(after.new(1).but(queue=queue + "-later"))
        job.enqueue(after.new(2).but(queue=queue + "-later"))
        return "done"

    with decided(client, queue, decide) as kind:
        handle = client.enqueue(kind.new().but(tenant="acme"))
        assert handle.wait(PATIENCE) == "done"
    assert stored(db, queue + "-later") == [(1, "acme", handle.id), (2, "acme", handle.id)]


def test_async_handlers_enqueue_follow_up_jobs(client, queue, db):
    async def decide(job: weir.Job) -> None:
        job.enqueue(after.new(1).but(queue=queue + "-later"))

    with decided(client, queue, decide) as kind:
        client.enqueue(kind.new()).wait(PATIENCE)
    assert [n for n, _, _ in stored(db, queue + "-later")] == [1]


@pytest.mark.parametrize("how, error", [("raises", "ValueError"), ("refused", "follow_up")])
def test_follow_up_jobs_of_attempts_that_do_not_complete_are_not_stored(client, queue, db, how, error):
    def decide(job: weir.Job) -> None:
        job.enqueue(after.new(1).but(queue=queue + "-later"))
        if how == "raises":
            raise ValueError("no")
        job.enqueue(after.new(2).but(queue=queue + "-later", priority=11))

    with decided(client, queue, decide) as kind:
        job = settled(client, client.enqueue(kind.new().but(max_attempts=1)), "dead")
    assert job["errors"][-1]["type"] == error
    assert stored(db, queue + "-later") == []


def test_follow_up_jobs_of_a_lost_lease_are_not_stored(client, queue, db):
    outcomes = []

    def decide(job: weir.Job) -> None:
        if job.attempt == 1:
            db.execute("update weir.job_lease set expires_at = clock_timestamp() where job_id = %s", [job.id])
            lost = "select from weir.job_event where job_id = %s and kind = 'lost'"
            eventually("the lease is taken back", lambda: db.execute(lost, [job.id]).rowcount == 1)
        job.enqueue(after.new(job.attempt).but(queue=queue + "-later"))

    with decided(client, queue, decide, outcomes) as kind:
        client.enqueue(kind.new()).wait(PATIENCE)
        eventually("both attempts have ended", lambda: len(outcomes) == 2)
    assert sorted(outcomes) == ["complete", "lost"]
    assert [n for n, _, _ in stored(db, queue + "-later")] == [2]


def test_handlers_add_steps(client, queue, db):
    ran = []

    @weir.job("step", queue=queue)
    def step(n: int) -> None:
        ran.append(n)

    @weir.job("decide", queue=queue)
    def decide(job: weir.Job) -> None:
        more = weir.Workflow("more")
        first = more.step("first", step.new(1), after=["list"])
        more.step("second", step.new(2), after=[first])
        job.add_steps(more)

    with working(client, decide, step):
        flow = weir.Workflow("flow")
        flow.step("list", decide.new())
        id = client.submit(flow)
        state = "select state from weir.workflows where id = %s"
        eventually("the workflow completes", lambda: db.execute(state, [id]).fetchone() == ("completed",))
    assert ran == [1, 2]


def test_completion_in_a_transaction_stores_follow_up_jobs(queue, db, server):
    def decide(job: weir.Job) -> None:
        job.enqueue(after.new(job.attempt).but(queue=queue + "-later"))
        with psycopg.connect(server.dsn) as connection:
            job.complete_in(connection)
            if job.attempt == 1:
                raise weir.RetryIn(0)

    with server.sql() as client, decided(client, queue, decide) as kind:
        client.enqueue(kind.new()).wait(PATIENCE)
    assert [n for n, _, _ in stored(db, queue + "-later")] == [2]


def test_handlers_cancel_their_jobs_with_a_reason(client, queue):
    outcomes = []

    def decide() -> None:
        raise weir.Cancel("paid already")

    with decided(client, queue, decide, outcomes) as kind:
        job = settled(client, client.enqueue(kind.new().but(max_attempts=1)), "cancelled")
        eventually("its end is told", lambda: outcomes)
    assert job["error"]["message"] == "paid already" and not job.get("errors") and outcomes == ["cancel"]
