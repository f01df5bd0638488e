"""One worker and its jobs, over REST and over SQL."""

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Dict, List

import pytest

import weir
from conftest import PATIENCE, eventually, settled, working


@dataclass
class Point:
    x: int
    y: int


def test_sync_and_async_handlers_return_results(client, queue):
    @weir.job(queue=queue)
    def scale(point: Point, by: int = 2) -> Point:
        return Point(point.x * by, point.y * by)

    @weir.job(queue=queue)
    async def total(job: weir.Job[List[Point]]) -> Dict[str, int]:
        await asyncio.sleep(0)
        assert weir.current_job() is job
        return {"sum": sum(p.x + p.y for p in job.args)}

    with working(client, scale, total):
        one, two = client.enqueue(scale.new(Point(1, 2**60))), client.enqueue(total.new([Point(1, 2), Point(3, 4)]))
        assert one.wait(PATIENCE) == Point(2, 2**61)
        assert two.wait(PATIENCE) == {"sum": 10}


def test_exception_fails_the_attempt_with_its_type_and_stack(client, queue):
    @weir.job(queue=queue, max_attempts=2, retry={"strategy": "fixed", "base_seconds": 0, "jitter": False})
    def fails(n: int) -> None:
        raise ConnectionError(f"no route {n}")

    with working(client, fails):
        handle = client.enqueue(fails.new(1))
        with pytest.raises(weir.JobFailed, match="no route 1") as e:
            handle.wait(PATIENCE)
    job = client.get(handle.id)
    assert (job["state"], job["attempt"], e.value.code) == ("dead", 2, "dead")
    error = job["errors"][-1]
    assert error["type"] == "ConnectionError" and "in fails" in error["stack"]


def test_handlers_say_how_it_goes_on(client, queue):
    runs: List[str] = []

    @weir.job(queue=queue, max_attempts=3)
    def decide(what: str) -> str:
        runs.append(what)
        if runs.count(what) > 1:
            return "second time"
        if what == "snooze":
            raise weir.Snooze(0.01)
        if what == "retry":
            raise weir.RetryIn(0.01, "busy")
        if what == "discard":
            raise weir.Discard("no use") from ValueError("bad order")
        raise weir.Cancel("not needed")

    with working(client, decide):
        handles = {what: client.enqueue(decide.new(what)) for what in ("snooze", "retry", "discard", "cancel")}
        jobs = {what: settled(client, h, "completed", "dead", "cancelled") for what, h in handles.items()}
    assert {what: (j["state"], j["attempt"]) for what, j in jobs.items()} == {
        "snooze": ("completed", 1), "retry": ("completed", 2), "discard": ("dead", 1), "cancel": ("cancelled", 1)}
    assert jobs["discard"]["errors"][-1]["type"] == "ValueError" and jobs["discard"]["errors"][-1]["message"] == "no use"


def test_args_that_do_not_fit_and_unknown_kinds_fail(client, queue):
    @weir.job(queue=queue, max_attempts=1)
    def add(a: int, b: int) -> int:
        return a + b

    with working(client, add):
        bad = [client.enqueue(weir.NewJob(kind, args, {"queue": queue, "max_attempts": 1}))
               for kind, args in (("add", {"a": 1}), ("add", {"a": 1, "b": "2"}), ("add", {"a": 1, "b": 2, "c": 3}), ("add", [1]), ("other", {}))]
        errors = [settled(client, h, "dead")["errors"][-1] for h in bad]
    assert [e["message"] for e in errors] == [
        "args.b: is missing", "args.b: expected int, got a str", "args.c: is not known", "args: expected an object, got a list",
        "this worker has no handler for jobs of kind other"]
    assert [e["type"] for e in errors] == ["DecodeError"] * 4 + ["LookupError"]


def test_cancel_reaches_threads_and_tasks(client, queue):
    ended: List[str] = []

    @weir.job(queue=queue)
    def in_thread(job: weir.Job) -> None:
        try:
            job.sleep(PATIENCE)
        except weir.JobStopped as e:
            ended.append(e.reason)
            raise

    @weir.job(queue=queue)
    async def in_task(job: weir.Job) -> None:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            ended.append(job.stopped)
            raise

    with working(client, in_thread, in_task, lease=1):
        handles = [client.enqueue(in_thread.new()), client.enqueue(in_task.new())]
        for h in handles:
            settled(client, h, "running")
            assert client.cancel(h.id) == "running"
        for h in handles:
            settled(client, h, "cancelled")
    assert ended == ["cancelled", "cancelled"]


def test_timeout_fails_the_attempt_in_time(client, queue):
    @weir.job(queue=queue, max_attempts=1, timeout=1)
    async def task() -> None:
        await asyncio.sleep(PATIENCE)

    @weir.job(queue=queue, max_attempts=1, timeout=1)
    def thread(job: weir.Job) -> None:
        job.sleep(PATIENCE)

    @weir.job(queue=queue, max_attempts=1, timeout=1)
    def deaf() -> None:
        time.sleep(3)

    with working(client, task, thread, deaf):
        for kind in (task, thread, deaf):
            job = settled(client, client.enqueue(kind.new()), "dead")
            assert job["errors"][-1]["type"] in ("Timeout", "timeout"), kind  # the service's own word, where the worker is late


def test_heartbeats_keep_a_job_and_carry_its_progress(client, queue):
    may_end = threading.Event()

    @weir.job(queue=queue)
    def long(job: weir.Job) -> int:
        job.progress(40, "rendered")
        while not may_end.is_set():
            job.sleep(0.05)
        return job.attempt

    with working(client, long, lease=1):
        handle, began = client.enqueue(long.new()), time.monotonic()
        eventually("the progress is shown", lambda: client.get(handle.id).get("progress") == {"percent": 40, "message": "rendered"})
        time.sleep(max(0.0, 4 - (time.monotonic() - began)))  # leases end after 1 s
        assert client.get(handle.id)["state"] == "running"
        may_end.set()
        assert handle.wait(PATIENCE) == 1


def test_worker_holds_no_more_than_it_can_start(client, queue):
    may_end = threading.Event()

    @weir.job(queue=queue)
    def long() -> None:
        may_end.wait(PATIENCE)

    handles = client.enqueue_many([long.new() for _ in range(30)])
    with working(client, long, concurrency=3):
        eventually("three run", lambda: sum(client.get(h.id)["state"] == "running" for h in handles) >= 3)
        time.sleep(1)
        assert sum(client.get(h.id)["state"] == "running" for h in handles) == 3
        may_end.set()
        for h in handles:
            h.wait(PATIENCE)


def test_concurrency_of_a_kind_and_of_queues(client, queue):
    most: Dict[str, int] = {}
    now: Dict[str, int] = {}
    lock = threading.Lock()

    def track(name):
        with lock:
            now[name] = now.get(name, 0) + 1
            most[name] = max(most.get(name, 0), now[name])
        time.sleep(0.02)
        with lock:
            now[name] -= 1

    @weir.job(concurrency=2)
    def rare() -> None:
        track("rare")

    @weir.job()
    def often() -> None:
        track("often")

    other = queue + "-b"
    with working(client, rare, often, queues={queue: 4, other: 1}):
        jobs = [k.new().but(queue=q) for q in (queue, other) for k in (rare, often) for _ in range(15)]
        for h in client.enqueue_many(jobs):
            h.wait(PATIENCE)
    assert most["rare"] <= 2 and 1 < most["often"] <= 5


def test_stop_lets_handlers_finish_and_releases_the_others(client, queue):
    begun, may_end = threading.Event(), threading.Event()

    @weir.job(queue=queue)
    def quick() -> str:
        begun.set()
        may_end.wait(PATIENCE)
        return "finished"

    @weir.job(queue=queue + "-s")
    async def stubborn() -> None:
        await asyncio.sleep(PATIENCE)

    worker = weir.Worker(client, [quick, stubborn], concurrency=2, grace=1, middleware=()).start()
    one, two = client.enqueue(quick.new()), client.enqueue(stubborn.new())
    begun.wait(PATIENCE)
    settled(client, two, "running")
    worker.stop()
    may_end.set()
    worker.join(PATIENCE)
    assert one.wait(1) == "finished"
    job = client.get(two.id)
    assert (job["state"], job["attempt"]) == ("available", 0)


def test_stop_before_the_start_is_not_lost(client, queue):
    worker = weir.Worker(client, queues=[queue])
    worker.stop()
    worker.start().join(PATIENCE)
    assert not worker._thread.is_alive() and worker.error is None


def test_lost_lease_stops_the_handler_and_changes_nothing(server, client, queue):
    reasons: List[str] = []

    @weir.job(queue=queue)
    def long(job: weir.Job) -> str:
        if job.attempt > 1 or reasons:
            return "again"
        try:
            job.sleep(PATIENCE)
        except weir.JobStopped as e:
            reasons.append(e.reason)
            raise
        return "first"

    def remove() -> bool:
        try:
            http.call("DELETE", f"/v1/workers/{queue}")
            return True
        except weir.WeirError:
            return False

    outcomes: List[str] = []
    with working(client, long, lease=1, concurrency=1, name=queue, on_end=lambda job, outcome: outcomes.append(outcome)), server.http() as http:
        handle = client.enqueue(long.new())
        settled(client, handle, "running")
        eventually("it is known, and removed: its jobs go back", remove)
        assert handle.wait(PATIENCE) == "again"
    assert reasons == ["lost"] and outcomes == ["lost", "complete"]


def test_middleware_and_hooks_stand_around_handlers(client, queue):
    told: List[str] = []

    @contextlib.contextmanager
    def around(job):
        told.append(f"before {job.kind}")
        try:
            yield
        except ValueError as e:
            told.append(f"failed: {e}")
            raise weir.Discard(str(e)) from e
        finally:
            told.append("after")

    @weir.job(queue=queue)
    def fails() -> None:
        raise ValueError("no")

    @weir.job(queue=queue)
    async def fails_too() -> None:
        raise ValueError("no")

    with working(client, fails, fails_too, middleware=[around, weir.log_jobs], on_start=lambda w: told.append("start"),
                 on_stop=lambda w: told.append("stop"), on_end=lambda job, outcome: told.append(outcome)):
        for kind in (fails, fails_too):
            settled(client, client.enqueue(kind.new()), "dead")
    assert told == ["start", "before fails", "failed: no", "after", "fail", "before fails_too", "failed: no", "after", "fail", "stop"]


def test_worker_runs_in_the_application_s_event_loop(client, queue):
    @weir.job(queue=queue)
    async def where() -> int:
        return id(asyncio.get_running_loop())

    async def main():
        running = asyncio.ensure_future(weir.Worker(client, [where], middleware=()).run_async())
        handle = await client.enqueue_async(where.new())
        assert await handle.wait_async(PATIENCE) == id(asyncio.get_running_loop())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    asyncio.run(main())


def test_result_that_is_no_json_or_too_large_fails_the_job(client, queue):
    @weir.job(queue=queue, max_attempts=1)
    def returns(what: str):
        return object() if what == "object" else "x" * (1 << 20) if what == "large" else "fine"

    with working(client, returns):
        handles = [client.enqueue(returns.new(w)) for w in ("object", "large", "small")]
        jobs = [settled(client, h, "completed", "dead") for h in handles]
    assert [j["state"] for j in jobs] == ["dead", "dead", "completed"]
    assert jobs[1]["errors"][-1]["type"] == "Refused"


def test_odd_text_stops_no_report(client, queue):
    """Half a surrogate, as file names have, and NUL, which PostgreSQL does not store."""
    @weir.job(queue=queue, max_attempts=1)
    def odd(job: weir.Job, returns: bool) -> str:
        job.progress(200, "\udcff\x00")
        job.log("\udcff\x00", text="\udcff")
        time.sleep(1.5)
        if returns:
            return "\udcff"
        raise ValueError("a\udcff\x00b")

    @weir.job(queue=queue)
    def plain(job: weir.Job) -> int:
        job.sleep(3)
        return job.attempt

    with working(client, odd, plain, lease=1):
        handles = [client.enqueue(k) for k in (odd.new(True), odd.new(False), plain.new())]
        jobs = [settled(client, h, "completed", "dead") for h in handles]
    assert [j["state"] for j in jobs] == ["dead", "dead", "completed"] and handles[2].wait(0) == 1
    assert [j["errors"][-1]["type"] for j in jobs[:2]] == ["UnicodeEncodeError", "ValueError"]
    assert jobs[1]["errors"][-1]["message"] == "a?\ufffdb"
