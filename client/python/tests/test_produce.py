"""Producers: what is enqueued, once, and what they learn of it."""

import http.server
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import List

import pytest

import weir
from conftest import PATIENCE, eventually, free_port, settled


@weir.job()
def double(n: int) -> int:
    return 2 * n


@weir.job()
def total(job: weir.Job) -> int:
    return sum(job.dependency(step, int) for step in ("one", "two"))


def test_unique_job_is_enqueued_once(client, queue):
    job = double.new(1).but(queue=queue, unique="u-" + queue)
    first, second = client.enqueue(job), client.enqueue(job)
    assert second.id == first.id and second.duplicate and not first.duplicate


def test_batch_keeps_its_order(client, queue):
    handles = client.enqueue_many([double.new(i).but(queue=queue) for i in range(10)])
    assert [h.id for h in handles] == sorted(h.id for h in handles) and len({h.id for h in handles}) == 10
    assert [client.get(h.id)["args"]["n"] for h in handles] == list(range(10))


def test_options_arrive(client, queue):
    at = datetime.now(timezone.utc) + timedelta(days=1)
    job = client.get(client.enqueue(double.new(1).but(queue=queue, priority=9, run_at=at, tags=["vip"], metadata={"a": 1}, timeout=7)).id)
    assert (job["state"], job["priority"], job["tags"], job["metadata"], job["timeout_seconds"]) == ("scheduled", 9, ["vip"], {"a": 1}, 7)


def test_invalid_job_is_refused_with_its_place(client, queue):
    with pytest.raises(weir.WeirError, match="priority") as e:
        client.enqueue(double.new(1).but(queue=queue, priority=11))
    assert e.value.code == "invalid_argument" and not e.value.is_passing


def test_idempotency_key_gets_the_first_job(client, queue):
    job = double.new(1).but(queue=queue)
    assert client.enqueue(job, idempotency_key="i-" + queue).id == client.enqueue(job, idempotency_key="i-" + queue).id


class Proxy:
    """Passes requests on to the service, and does something else with some answers."""

    def __init__(self, url, spoil):
        self.seen: List[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                answer = backend.rest.rest_client.pool_manager.request("GET", url + self.path)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                self.wfile.write(answer.data)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.seen.append(self.path)
                how = spoil(self.path, outer.seen.count(self.path))
                if isinstance(how, int):  # a refusal, which the service has not seen
                    self.send_response(how)
                    self.send_header("Retry-After", "1")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                answer = backend.rest.rest_client.pool_manager.request(
                    "POST", url + self.path, body=body, headers={"Content-Type": "application/json", **{
                        k: v for k, v in self.headers.items() if k in ("Idempotency-Key", "Authorization")}})
                if how == "cut":  # the service has done it, and the answer is lost
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                self.wfile.write(answer.data)

            def log_message(self, *args):
                pass

        backend = weir.HTTP(url)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self._server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def proxy(server):
    proxies = []

    def make(spoil):
        proxies.append(Proxy(server.url, spoil))
        return proxies[-1]
    yield make
    for p in proxies:
        p.close()


@pytest.mark.parametrize("many", [False, True])
def test_lost_answer_makes_no_second_job(server, proxy, queue, many):
    p = proxy(lambda path, n: "cut" if n <= 2 else None)
    with weir.HTTP(p.url, retry_for=PATIENCE) as client, server.sql() as sql:
        jobs = [double.new(i).but(queue=queue) for i in range(3 if many else 1)]
        handles = client.enqueue_many(jobs) if many else [client.enqueue(jobs[0])]
        stored = [r["id"] for r in sql.rows("select id from weir.jobs where queue = %s order by id", [queue])]
        assert [h.id for h in handles] == stored and len(stored) == len(jobs)
    assert len(p.seen) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(proxy, queue, status):
    p = proxy(lambda path, n: status if n == 1 else None)
    with weir.HTTP(p.url, retry_for=PATIENCE) as client:
        began = time.monotonic()
        client.enqueue(double.new(1).but(queue=queue))
        assert time.monotonic() - began >= 1 and len(p.seen) == 2


def test_worker_goes_on_after_refusals_and_lost_answers(proxy, queue):
    """Whatever call is refused or loses its answer, each job is completed by its first run."""
    p = proxy(lambda path, n: {0: 503, 1: "cut"}.get(n % 7) if path in ("/v1/claims", "/v1/acks") else None)
    runs: List[int] = []

    @weir.job(queue=queue)
    def run(n: int) -> None:
        runs.append(n)

    with weir.HTTP(p.url, retry_for=PATIENCE) as client:
        handles = client.enqueue_many([run.new(i) for i in range(60)])
        with weir.Worker(client, [run], concurrency=2, lease=2, middleware=()):
            for h in handles:
                h.wait(PATIENCE)
        assert sorted(set(runs)) == list(range(60))
        assert all(client.get(h.id)["state"] == "completed" for h in handles)


def test_unreachable_service_is_unavailable():
    with weir.HTTP(f"http://127.0.0.1:{free_port()}", retry_for=0.3) as client, pytest.raises(weir.Unavailable):
        client.enqueue(double.new(1))


def test_workflow_s_results_flow_on(client, queue):
    flow = weir.Workflow("sum " + queue)
    one, two = (flow.step(name, double.new(n).but(queue=queue)) for name, n in (("one", 1), ("two", 2)))
    approved = flow.wait_for_signal("approved", "go", after=[one])
    end = flow.step("end", total.new().but(queue=queue), after=[one, two, approved])
    with weir.Worker(client, [double, total], queues=[queue], middleware=()):
        id = client.submit(flow)
        assert client.workflow_result(id, one, PATIENCE) == 2
        client.signal(id, "go", {"by": "ann"})
        assert client.workflow_result(id, end, PATIENCE) == 6
        assert client.workflow_result(id, approved, PATIENCE) == {"by": "ann"}
    with pytest.raises(weir.WeirError, match="no step"):
        client.workflow_result(id, "nowhere")


def test_invalid_workflow_is_refused(client):
    flow = weir.Workflow("circle")
    flow.step("a", double.new(1), after=["b"])
    flow.step("b", double.new(1), after=["a"])
    with pytest.raises(weir.WeirError, match="cycle"):
        client.submit(flow)
    with pytest.raises(ValueError):
        flow.step("a", double.new(1))


def test_schedule_enqueues_jobs(client, queue):
    client.schedule("s-" + queue, double.new(21).but(queue=queue), every=1, overlap="skip")
    ran: List[int] = []

    @weir.job("double")
    def recorded(n: int) -> int:
        ran.append(n)
        return 2 * n

    with weir.Worker(client, [recorded], queues=[queue], middleware=()):
        eventually("the schedule fires twice", lambda: len(ran) > 1)
    client.unschedule("s-" + queue)
    assert set(ran) == {21}
    with pytest.raises(weir.WeirError) as e:
        client.unschedule("s-" + queue)
    assert e.value.code == "schedule_not_found"


def test_events_come_as_they_happen(server, queue):
    with server.http() as client:
        seen, ready = [], threading.Event()

        def watch():
            for event in client.events(queue=[queue], event=["completed", "enqueued"]):
                seen.append((event.name, event.data["job_id"]))
                ready.set()
        threading.Thread(target=watch, daemon=True).start()
        # Events begin with the connection: enqueue until the first is seen.
        eventually("an event comes", lambda: client.enqueue(double.new(1).but(queue=queue)) and ready.wait(0.3))
        handle = client.enqueue(double.new(1).but(queue=queue))
        weir.testing.work(client, [double], queues=[queue])
        eventually("its end is told", lambda: ("completed", str(handle.id)) in seen)


def test_wait_ends_at_its_time(client, queue):
    handle = client.enqueue(double.new(1).but(queue=queue))
    with pytest.raises(TimeoutError):
        handle.wait(0.2)
    client.cancel(handle.id)
    with pytest.raises(weir.JobFailed) as e:
        handle.wait(PATIENCE)
    assert e.value.code == "cancelled"


def test_whole_numbers_of_any_size_survive(client, queue):
    handle = client.enqueue(double.new(2**63 + 1).but(queue=queue))
    weir.testing.work(client, [double], queues=[queue])
    assert handle.wait(PATIENCE) == 2**64 + 2 and settled(client, handle, "completed")
