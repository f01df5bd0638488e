"""The logs of jobs: lines are sent about once a second, and before the end of the job."""

import logging
import threading
import time

import weir
from conftest import PATIENCE, settled, working


def test_lines_of_the_log_are_kept_in_order(server, client, queue):
    logger = logging.getLogger("shop")
    logger.setLevel(logging.DEBUG)
    handler = weir.JobLogHandler()
    logger.addHandler(handler)

    @weir.job(queue=queue)
    def talks(job: weir.Job) -> None:
        job.log("one", row=17)
        logger.warning("two %d", 2)

    @weir.job(queue=queue)
    async def talks_too(job: weir.Job) -> None:
        job.log("three", "error")

    try:
        with working(client, talks, talks_too), server.http() as http:
            handles = [client.enqueue(talks.new()), client.enqueue(talks_too.new())]
            for h in handles:
                h.wait(PATIENCE)
            lines = [[(line["level"], line["message"], line.get("fields")) for line in http.call("GET", f"/v1/jobs/{h.id}/logs")["items"]] for h in handles]
    finally:
        logger.removeHandler(handler)
    assert lines == [[("info", "one", {"row": 17}), ("warn", "two 2", {"logger": "shop"})], [("error", "three", None)]]


class SlowLog:
    """What sends a job's log, with a wait before it sends."""

    def __init__(self, store):
        self._store, self.begun = store, threading.Event()

    def __getattr__(self, name):
        return getattr(self._store, name)

    def log(self, job, lines):
        self.begun.set()
        time.sleep(0.5)
        self._store.log(job, lines)


def test_lines_that_are_on_their_way_come_before_the_end(server, client, queue):
    @weir.job(queue=queue)
    def talks(job: weir.Job) -> None:
        job.log("a line")
        job._store = SlowLog(job._store)
        threading.Thread(target=job._flush).start()  # as a worker does once a second
        assert job._store.begun.wait(PATIENCE)

    with working(client, talks), server.sql() as database:
        handle = client.enqueue(talks.new())
        settled(client, handle, "completed")
        assert [r["message"] for r in database.rows("select message from weir.job_logs where job_id = %s", [handle.id])] == ["a line"]
