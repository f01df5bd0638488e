"""The REST transport."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple
from urllib.parse import urlencode

import urllib3

import weir_rest

from .client import Ack, Client, Line
from .codec import dumps
from .error import Seconds, StaleToken, Unavailable, WeirError, seconds
from .event import Event, follow

PATIENCE = 10.0  # seconds that an answer may take beyond what the call waits for


class HTTP(Client):
    """A client of the service's REST API.

    ``rest`` is the generated client with the same address and key: ``weir_rest.QueuesApi(client.rest)`` and the others
    have every operation there is. This class goes beneath its models, to its connections, for what they cannot carry:
    args and results are any JSON with whole numbers of any size, claims come by the thousand, and waits end early.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080", *, key: Optional[str] = None, ca_file: Optional[str] = None,
                 retry_for: Seconds = 10.0, timeout: Seconds = PATIENCE) -> None:
        super().__init__(retry_for)
        self.url, self.key, self.timeout = url.rstrip("/"), key, seconds(timeout)
        self._ca_file = ca_file
        self.rest = self._generated()

    def _generated(self) -> weir_rest.ApiClient:
        return weir_rest.ApiClient(weir_rest.Configuration(
            host=self.url, access_token=self.key, ssl_ca_cert=self._ca_file, connection_pool_maxsize=16, timeout=self.timeout + 20))

    def call(self, method: str, path: str, body: Any = None, *, text: str = "", query: Optional[Mapping[str, Any]] = None,
             headers: Optional[Mapping[str, str]] = None, wait: float = 0.0, pool: Any = None, stream: bool = False) -> Any:
        """Makes one call, and returns the decoded answer, or the open response of a stream. ``text`` is a body that is
        JSON already."""
        every = {"Accept": "application/json", **(headers or {})}
        if self.key:
            every["Authorization"] = f"Bearer {self.key}"
        if body is not None:
            text = dumps(body)
        if text:
            every["Content-Type"] = "application/json"
        url = self.url + path + ("?" + urlencode(query) if query else "")
        timeout = urllib3.Timeout(connect=self.timeout, read=self.timeout + wait)
        with _surfaced():
            answer = (pool or self.rest.rest_client.pool_manager).request(
                method, url, body=text.encode() if text else None, headers=every, timeout=timeout, retries=False, preload_content=not stream)
        if answer.status >= 300:
            raise problem(answer.status, _decoded(answer.data), answer.headers.get("Retry-After"))
        if stream:
            return answer
        return json.loads(answer.data) if answer.data else None

    def _events(self, filter: Mapping[str, Any], after: Optional[str]) -> Iterator[Event]:
        query = {**filter, "event": ",".join(filter["event"])} if "event" in filter else filter
        return follow(lambda headers: self.call("GET", "/v1/events", query=query, headers=headers, wait=45.0, stream=True), after)

    def _enqueue(self, jobs: Sequence[Mapping[str, Any]], key: str) -> List[Tuple[int, bool]]:
        api = weir_rest.JobsApi(self.rest)
        with _surfaced():
            if len(jobs) == 1:
                job = api.enqueue_job(jobs[0], idempotency_key=key)
                return [(int(job.id), bool(job.duplicate))]
            return [(int(id), False) for id in api.enqueue_jobs({"jobs": jobs}, idempotency_key=key).ids]

    def _job(self, id: int, wait: float) -> Dict[str, Any]:
        # As the service sends it: a result is any JSON, and this answer has the same names as a row of weir.jobs.
        return self.call("GET", f"/v1/jobs/{id}", query={"wait_seconds": f"{wait:.3f}"} if wait > 0 else None, wait=wait)

    def _cancel(self, id: int) -> str:
        with _surfaced():
            return weir_rest.JobsApi(self.rest).cancel_job(str(id)).state

    def _submit(self, definition: Mapping[str, Any], key: str) -> int:
        with _surfaced():
            return int(weir_rest.WorkflowsApi(self.rest).submit_workflow(definition, idempotency_key=key).id)

    def _step_job(self, workflow_id: int, step: str) -> int:
        api, cursor = weir_rest.WorkflowsApi(self.rest), None
        while True:
            with _surfaced():
                page = api.list_workflow_steps(str(workflow_id), limit=1000, cursor=cursor)
            for item in page.items:
                if item.name == step:
                    return int(item.job_id)
            cursor = page.next_cursor
            if not cursor:
                raise WeirError(f"workflow {workflow_id} has no step {step}", "not_found", status=404)

    def _signal(self, workflow_id: int, name: str, payload: Any) -> None:
        with _surfaced():
            weir_rest.WorkflowsApi(self.rest).signal_workflow(str(workflow_id), name, signal_request={"payload": payload})

    def _set_schedule(self, name: str, definition: Mapping[str, Any]) -> None:
        with _surfaced():
            weir_rest.SchedulesApi(self.rest).put_schedule(name, definition)

    def _delete_schedule(self, name: str) -> None:
        with _surfaced():
            weir_rest.SchedulesApi(self.rest).delete_schedule(name)

    def open_line(self, worker: str) -> Line:
        return _HTTPLine(self, worker)

    def close(self) -> None:
        self.rest.rest_client.pool_manager.clear()


@contextmanager
def _surfaced() -> Iterator[None]:
    """Turns the errors of the generated client, and of its connections, into weir's."""
    try:
        yield
    except weir_rest.ApiException as e:
        raise problem(e.status, e.problem, e.headers.get("Retry-After")) from e
    except (urllib3.exceptions.HTTPError, OSError) as e:
        raise Unavailable(f"the service cannot be reached: {e}", "unavailable") from e


def problem(status: int, told: Mapping[str, Any], retry_after: Optional[str]) -> WeirError:
    """The error that an answer stands for (RFC 9457)."""
    parts = [told.get("detail") or told.get("title") or f"status {status}", told.get("hint")]
    parts += [f"{e.get('location')}: {e.get('message')}" for e in told.get("errors") or ()]
    code = told.get("code") or ""
    cls = StaleToken if code == "stale_token" else Unavailable if status == 503 else WeirError
    after = float(retry_after) if retry_after and retry_after.replace(".", "", 1).isdigit() else None
    return cls("; ".join(p for p in parts if p), code, status=status, retry_after=after, problem=told)


def _decoded(body: bytes) -> Mapping[str, Any]:
    """The problem in an answer; empty if a proxy answered with something else."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


class _Breakable:
    """Connections that another thread can break. A claim waits for half a minute, and a worker that is asked to stop
    does not: where the connection breaks, the service gives back what it has just claimed."""

    def __init__(self, pool: Any) -> None:
        self._open: Set[Any] = set()
        self._lock, self._broken = threading.Lock(), False
        watch = self._watch

        def watched(base: Any) -> Any:
            class Pool(base):
                class ConnectionCls(base.ConnectionCls):
                    def connect(self) -> None:
                        super().connect()
                        watch(self)
            return Pool
        pool.pool_classes_by_scheme = {name: watched(c) for name, c in pool.pool_classes_by_scheme.items()}
        self.pool = pool

    def _watch(self, connection: Any) -> None:
        with self._lock:
            self._open.add(connection)
            if self._broken:
                _shut(connection)

    def break_all(self) -> None:
        with self._lock:
            self._broken = True
            for connection in self._open:
                _shut(connection)


def _shut(connection: Any) -> None:
    try:
        connection.sock.shutdown(socket.SHUT_RDWR)
    except (OSError, AttributeError):
        pass  # it is closed already


def _ack_text(a: Ack) -> str:
    members: Dict[str, Any] = {"id": str(a.job.id), "token": a.job._token, "outcome": a.outcome}
    if a.outcome == "cancel":
        members.update(outcome="fail", cancel=True, error=a.error)
    elif a.outcome == "fail":
        members.update(error=a.error, retry=a.retry)
        if a.delay is not None:
            members["retry_in_seconds"] = a.delay
    elif a.outcome == "snooze":
        members["delay_seconds"] = a.delay
    elif a.result is not None:
        return dumps(members)[:-1] + ',"result":' + a.result + "}"
    return dumps(members)


class _HTTPLine(Line):
    def __init__(self, http: HTTP, worker: str) -> None:
        self._http, self._worker = http, worker
        self._workers = weir_rest.WorkersApi(http.rest)
        self._claims = _Breakable(http._generated().rest_client.pool_manager)

    def claim(self, queues: Sequence[str], most: int, lease: int, wait: float) -> List[Mapping[str, Any]]:
        body = {"worker": self._worker, "queues": queues, "limit": min(most, 1000), "lease_seconds": lease, "wait_seconds": wait}
        return self._http.call("POST", "/v1/claims", body, wait=wait, pool=self._claims.pool)["jobs"]

    def ack(self, acks: Sequence[Ack]) -> List[Tuple[str, str]]:
        answer = self._http.call("POST", "/v1/acks", text='{"acks":[' + ",".join(map(_ack_text, acks)) + "]}")
        words = {"ok": "ok", "stale_token": "stale", "not_found": "stale", "invalid": "invalid"}
        return [(words[r["status"]], (r.get("error") or {}).get("message", "")) for r in answer["results"]]

    def complete(self, ack: Ack) -> None:
        members: Dict[str, Any] = {"token": ack.job._token}
        if ack.jobs:
            members["jobs"] = ack.jobs
        if ack.steps:
            members["add_steps"] = ack.steps
        text = dumps(members)
        if ack.result is not None:
            text = text[:-1] + ',"result":' + ack.result + "}"
        self._http.call("POST", f"/v1/jobs/{ack.job.id}/complete", text=text)

    def beat(self, jobs: Sequence[Tuple[Any, Optional[Mapping[str, Any]]]], lease: int) -> Dict[int, bool]:
        beats = [{"id": str(j.id), "token": j._token, **({"progress": progress} if progress else {})} for j, progress in jobs]
        with _surfaced():
            answer = weir_rest.WorkApi(self._http.rest).heartbeat_jobs({"heartbeats": beats, "lease_seconds": lease})
        return {int(r.id): bool(r.cancel_requested) for r in answer.results if r.status == "ok"}

    def log(self, job: Any, lines: Sequence[Mapping[str, Any]]) -> None:
        with _surfaced():
            weir_rest.WorkApi(self._http.rest).log_job(str(job.id), {"token": job._token, "lines": lines})

    def register(self, settings: Mapping[str, Any]) -> None:
        with _surfaced():
            self._workers.register_worker(self._worker, settings)

    def alive(self, load: float) -> Tuple[str, bool]:
        with _surfaced():
            told = self._workers.heartbeat_worker(self._worker, worker_beat_request={"load": load})
        return told.state, told.registered

    def forget(self) -> None:
        with _surfaced():
            self._workers.remove_worker(self._worker)

    def interrupt(self) -> None:
        self._claims.break_all()

    def close(self) -> None:
        self._claims.pool.clear()
