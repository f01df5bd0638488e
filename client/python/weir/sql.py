"""The SQL transport, and the calls that share the application's own transaction.

``enqueue``, ``enqueue_many``, ``submit`` and ``complete`` take a connection of psycopg 3 (also an asyncio one: then
await them) or of psycopg2, and run in its transaction.
"""

from __future__ import annotations

import inspect
import select
import socket
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple, TypeVar, Union

from .backoff import Backoff
from .client import Ack, Client, Line
from .codec import dumps
from .error import Seconds, StaleToken, Unavailable, WeirError
from .event import Event
from .kind import NewJob

if TYPE_CHECKING:
    from .workflow import Workflow

T = TypeVar("T")

LOOK = 1.0  # seconds between looks for jobs that no notification told of
EVENTS = 0.25  # seconds between looks for events
PARK = 30  # seconds that a waiting process is known as one

# What an SQLSTATE means over REST: docs/sql.md.
_CODES = {
    "WR001": ("stale_token", 409), "WR002": ("job_not_found", 404), "WR003": ("job_ended", 409), "WR004": ("job_not_editable", 409),
    "WR005": ("job_not_retryable", 409), "WR006": ("idempotency_mismatch", 409), "WR010": ("invalid_argument", 422),
    "WR011": ("queue_not_found", 404), "WR013": ("queue_full", 429), "WR015": ("worker_not_found", 404), "WR016": ("too_many_names", 409),
    "WR018": ("tenant_mismatch", 409), "WR019": ("quota_exceeded", 429), "WR023": ("queue_encrypted", 409), "WR024": ("worker_taken", 409),
    "WR030": ("schedule_not_found", 404), "WR031": ("schedule_exists", 409), "WR050": ("workflow_not_found", 404),
    "WR051": ("workflow_ended", 409), "WR054": ("not_a_step", 409),
}
_PASSING = ("08", "40", "53", "55", "57", "58")  # classes: connection, serialization, resources, locks, operators, system


def error_of(e: Any) -> WeirError:
    """A driver's error as one of weir's."""
    state = getattr(e, "sqlstate", None) or getattr(e, "pgcode", None) or ""
    text = getattr(getattr(e, "diag", None), "message_primary", None) or str(e)
    if state in _CODES:
        code, status = _CODES[state]
        column = getattr(e.diag, "column_name", None)
        cls = StaleToken if state == "WR001" else WeirError
        return cls(text, code, status=status, problem={"sqlstate": state, **({"field": column} if column else {})})
    if not state or state[:2] in _PASSING:
        return Unavailable(text, "unavailable", problem={"sqlstate": state})
    status = 422 if state[:2] == "22" else 403 if state == "42501" else 404
    return WeirError(text, "", status=status, problem={"sqlstate": state})


def _is_driver_error(e: BaseException) -> bool:
    return any(c.__module__.split(".")[0] in ("psycopg", "psycopg2") and c.__name__ == "Error" for c in type(e).__mro__)


@contextmanager
def _surfaced() -> Iterator[None]:
    """Turns what weir refuses into its errors. Others, such as a broken connection, stay the driver's: the
    application's transaction handles those."""
    try:
        yield
    except Exception as e:
        if _is_driver_error(e) and (getattr(e, "sqlstate", None) or getattr(e, "pgcode", None) or "").startswith("WR"):
            raise error_of(e) from e
        raise


def is_async(connection: Any) -> bool:
    return inspect.iscoroutinefunction(connection.commit)


def _in(connection: Any, sql: str, args: Sequence[Any], read: Callable[[List[Tuple[Any, ...]]], T]) -> T:
    """Runs a statement in the connection's transaction. Of an asyncio connection it returns what is to be awaited."""
    cursor = connection.cursor()
    if is_async(connection):
        return _in_async(cursor, sql, args, read)  # type: ignore[return-value]
    with _surfaced():
        cursor.execute(sql, args)
        rows = cursor.fetchall()
        cursor.close()
    return read([_row(r) for r in rows])


async def _in_async(cursor: Any, sql: str, args: Sequence[Any], read: Callable[[List[Tuple[Any, ...]]], T]) -> T:
    with _surfaced():
        await cursor.execute(sql, args)
        rows = await cursor.fetchall()
        await cursor.close()
    return read([_row(r) for r in rows])


def _row(row: Any) -> Tuple[Any, ...]:
    """A row as a tuple, whatever the connection makes of rows."""
    return tuple(row.values()) if isinstance(row, Mapping) else tuple(row)


_ENQUEUE = "select job_id::bigint, duplicate from weir.enqueue_batch(%s::jsonb)"


def enqueue(connection: Any, job: NewJob[Any]) -> int:
    """Enqueues a job in the caller's transaction and returns its id. If that rolls back, there never was a job."""
    return _in(connection, _ENQUEUE, [dumps([job.fields()])], lambda rows: rows[0][0])


def enqueue_many(connection: Any, jobs: Sequence[NewJob[Any]]) -> List[int]:
    """Enqueues up to 10,000 jobs in the caller's transaction with one statement, and returns their ids in order."""
    return _in(connection, _ENQUEUE, [dumps([j.fields() for j in jobs])], lambda rows: [r[0] for r in rows])


def submit(connection: Any, workflow: "Workflow") -> int:
    """Stores a workflow in the caller's transaction and returns its id."""
    return _in(connection, "select weir.submit_workflow(%s::jsonb)::bigint", [dumps(workflow.definition())], lambda rows: rows[0][0])


def complete(connection: Any, job: Any, result: Any = None) -> None:
    """Completes a claimed job in the caller's transaction: see Job.complete_in."""
    token = str(job._token)
    if not token.isdigit():
        raise WeirError("the job was claimed over HTTP with a key, which seals its token: complete it by returning, or claim over SQL", "sealed_token")
    text = None if result is None else dumps(result)
    return _in(connection, _COMPLETE, _completion(job, text), lambda rows: None)


_COMPLETE = "select weir.complete(%s::bigint, %s::bigint, %s::jsonb, jobs => %s::jsonb, steps => %s::jsonb)::text"


def _completion(job: Any, result: Optional[str]) -> List[Any]:
    added = [dumps(some) if some else None for some in (job._jobs, job._steps)]
    return [job.id, int(job._token), result, *added]


def _rows(raw: Any, sql: str, args: Sequence[Any]) -> List[Dict[str, Any]]:
    from psycopg.rows import dict_row
    with raw.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql, args).fetchall()


class _Connection:
    """A connection that is opened when it is needed and again when it broke. One thread uses it at a time."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect, self._lock = connect, threading.RLock()
        self.raw: Any = None

    def run(self, work: Callable[[Any], T]) -> T:
        import psycopg
        with self._lock:
            try:
                if self.raw is None or self.raw.closed:
                    self.raw = self._connect()
                return work(self.raw)
            except psycopg.Error as e:
                if self.raw is not None and self.raw.broken:
                    self.close()
                raise error_of(e) from e

    def rows(self, sql: str, args: Sequence[Any] = ()) -> List[Dict[str, Any]]:
        return self.run(lambda raw: _rows(raw, sql, args))

    def close(self) -> None:
        with self._lock:
            if self.raw is not None:
                self.raw.close()
                self.raw = None


class SQL(Client):
    """A client of the SQL contract, with psycopg 3. It needs no node between it and PostgreSQL.

    ``to`` is a connection string, or a pool of psycopg_pool, from which every call then takes a connection. A worker
    opens two of its own: one claims and waits for notifications, and the other reports, in groups. A string for it
    must lead to PostgreSQL itself, without a pooler: LISTEN needs that.
    """

    def __init__(self, to: Union[str, Any], *, retry_for: Seconds = 10.0) -> None:
        super().__init__(retry_for)
        self._pool = None if isinstance(to, str) else to
        self._conninfo, self._options = (to, {}) if isinstance(to, str) else (to.conninfo, dict(to.kwargs or {}))
        self._own = _Connection(self._connect)

    def _connect(self) -> Any:
        import psycopg
        return psycopg.connect(self._conninfo, **{"connect_timeout": 10, "application_name": "weir-python", **self._options, "autocommit": True})

    def rows(self, sql: str, args: Sequence[Any] = ()) -> List[Dict[str, Any]]:
        """Runs a statement, commits it, and returns its rows by the names of their columns."""
        return self._run(lambda raw: _rows(raw, sql, args))

    def _run(self, work: Callable[[Any], T]) -> T:
        if self._pool is None:
            return self._own.run(work)
        import psycopg
        try:
            with self._pool.connection() as raw:
                return work(raw)
        except psycopg.Error as e:
            raise error_of(e) from e

    def _enqueue(self, jobs: Sequence[Mapping[str, Any]], key: str) -> List[Tuple[int, bool]]:
        if len(jobs) == 1:
            return [(r["job_id"], r["duplicate"]) for r in self.rows(_ENQUEUE, [dumps([{**jobs[0], "idempotency_key": key}])])]
        rows: List[Dict[str, Any]] = []

        def work(raw: Any) -> None:
            rows.clear()
            with raw.transaction():
                rows.extend(_rows(raw, _ENQUEUE.replace("duplicate", "duplicate, pg_current_xact_id()::text as xid"), [dumps(jobs)]))
        try:
            self._run(work)
        except Unavailable:
            if not rows or not self._committed(rows[0]["xid"]):
                raise
        return [(r["job_id"], r["duplicate"]) for r in rows]

    def _committed(self, xid: str) -> bool:
        """Whether a transaction committed whose commit was not answered. An idempotency key for each job of a batch
        would double what it costs; PostgreSQL knows the one thing that matters."""
        def status() -> str:
            told = self.rows("select pg_xact_status(%s::xid8) as status", [xid])[0]["status"]
            if told == "in progress":
                raise Unavailable("the transaction is in progress still", "unavailable")
            return told
        return self._again(status) == "committed"

    def _job(self, id: int, wait: float) -> Dict[str, Any]:
        end, pause = time.monotonic() + wait, 0.02
        while True:
            found = self.rows("select * from weir.jobs where id = %s::bigint", [id])
            if not found:
                raise WeirError(f"there is no job {id}", "job_not_found", status=404)
            left = end - time.monotonic()
            if found[0]["state"] in ("completed", "cancelled", "dead") or left <= 0:
                return found[0]
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 1.0)

    def _cancel(self, id: int) -> str:
        return self.rows("select weir.cancel(%s::bigint) as state", [id])[0]["state"]

    def _submit(self, definition: Mapping[str, Any], key: str) -> int:
        text = dumps({**definition, "idempotency_key": key})
        return self.rows("select weir.submit_workflow(%s::jsonb) as id", [text])[0]["id"]

    def _step_job(self, workflow_id: int, step: str) -> int:
        found = self.rows("select job_id from weir.workflow_steps where workflow_id = %s::bigint and name = %s", [workflow_id, step])
        if not found:
            raise WeirError(f"workflow {workflow_id} has no step {step}", "not_found", status=404)
        return found[0]["job_id"]

    def _signal(self, workflow_id: int, name: str, payload: Any) -> None:
        self.rows("select weir.signal(%s::bigint, %s, %s::jsonb)", [workflow_id, name, dumps(payload)])

    def _set_schedule(self, name: str, definition: Mapping[str, Any]) -> None:
        self.rows("select weir.set_schedule(%s, %s::jsonb)", [name, dumps(definition)])

    def _delete_schedule(self, name: str) -> None:
        self.rows("select weir.delete_schedule(%s)", [name])

    def _events(self, filter: Mapping[str, Any], after: Optional[str]) -> Iterator[Event]:
        text = dumps({**{k: v for k, v in filter.items() if k != "event"}, **({"events": filter["event"]} if "event" in filter else {})})
        wait = Backoff()
        while True:
            try:
                page = self.rows("select weir.events_after(%s, %s::jsonb) as page", [after, text])[0]["page"]
            except WeirError as e:
                if not e.is_passing:
                    raise
                time.sleep(wait.next(e.retry_after))
                continue
            wait.reset()
            for data in page["events"]:
                yield Event(data.pop("position"), data["event"], data)
            after = page["position"]
            if not page["more"]:
                time.sleep(EVENTS)

    def open_line(self, worker: str) -> Line:
        return _SQLLine(self, worker)

    def close(self) -> None:
        self._own.close()


class _SQLLine(Line):
    """Claims on one connection and reports on the other. Several threads may wait for notifications of the first: the
    one whose statement receives them wakes all."""

    def __init__(self, sql: SQL, worker: str) -> None:
        self._worker, self._node = worker, f"{worker[:100]}-{uuid.uuid4().hex[:8]}"
        self._claims, self._reports = _Connection(lambda: self._listen(sql._connect())), _Connection(sql._connect)
        self._parked: Dict[Tuple[str, ...], float] = {}  # until when, by queues
        self._bells: List[socket.socket] = []
        self._lock, self._interrupted = threading.Lock(), False

    def _listen(self, raw: Any) -> Any:
        raw.add_notify_handler(lambda notification: self._ring())
        raw.execute("listen weir_ready")
        self._parked.clear()
        return raw

    def _ring(self) -> None:
        with self._lock:
            for bell in self._bells:
                try:
                    bell.send(b"!")
                except OSError:
                    pass  # it is full, which wakes as well

    def claim(self, queues: Sequence[str], most: int, lease: int, wait: float) -> List[Mapping[str, Any]]:
        claimed = self._claim(queues, most, lease)
        if claimed or wait <= 0:
            return claimed
        bell, ear = socket.socketpair()
        bell.setblocking(False)
        with self._lock:
            self._bells.append(bell)
        try:
            return self._wait_for_jobs(queues, most, lease, time.monotonic() + wait, ear)
        finally:
            with self._lock:
                self._bells.remove(bell)
            bell.close()
            ear.close()

    def _wait_for_jobs(self, queues: Sequence[str], most: int, lease: int, end: float, ear: socket.socket) -> List[Mapping[str, Any]]:
        while True:
            if self._parked.get(tuple(queues), 0.0) < time.monotonic():
                self._claims.rows("select weir.park(%s::text[], %s, %s)", [list(queues), self._node, PARK])
                self._parked[tuple(queues)] = time.monotonic() + PARK / 2
            claimed = [] if self._interrupted else self._claim(queues, most, lease)
            left = end - time.monotonic()
            if claimed or left <= 0 or self._interrupted:
                return claimed
            raw = self._claims.raw
            if raw is None or raw.closed:
                continue  # it broke meanwhile: the next statement opens another
            ready, _, _ = select.select([raw, ear], [], [], min(left, LOOK))
            if ear in ready:
                ear.recv(4096)

    def _claim(self, queues: Sequence[str], most: int, lease: int) -> List[Mapping[str, Any]]:
        return self._claims.rows(
            "select job_id as id, token, kind, queue, args, attempt, max_attempts, priority, timeout_seconds, created_at, tags, metadata, "
            "dependencies, degraded from weir.claim(%s::text[], worker => %s, max_jobs => %s, lease_seconds => %s)",
            [list(queues), self._worker, most, lease])

    def ack(self, acks: Sequence[Ack]) -> List[Tuple[str, str]]:
        accepted = self._reports.run(lambda raw: self._ack(raw, acks))
        return [("ok" if a.job.id in accepted else "stale", "") for a in acks]

    def _ack(self, raw: Any, acks: Sequence[Ack]) -> Any:
        """All in one transaction: one commit for the group."""
        accepted: Set[int] = set()
        with raw.transaction():
            for outcome, sql, extra in _ACKS:
                group = [a for a in acks if a.outcome in outcome]
                if group:
                    ids, tokens = [a.job.id for a in group], [int(a.job._token) for a in group]
                    accepted.update(r[0] for r in raw.execute(sql, [ids, tokens, *extra(group)]).fetchall())
        return accepted

    def complete(self, ack: Ack) -> None:
        self._reports.rows(_COMPLETE, _completion(ack.job, ack.result))

    def beat(self, jobs: Sequence[Tuple[Any, Optional[Mapping[str, Any]]]], lease: int) -> Dict[int, bool]:
        progress = [dumps(p) if p else None for _, p in jobs]
        found = self._reports.rows(
            "select job_id, cancel_requested from weir.heartbeat(%s::bigint[], %s::bigint[], lease_seconds => %s, progress => %s::text[]::jsonb[])",
            [[j.id for j, _ in jobs], [int(j._token) for j, _ in jobs], lease, progress])
        return {r["job_id"]: r["cancel_requested"] for r in found}

    def log(self, job: Any, lines: Sequence[Mapping[str, Any]]) -> None:
        self._reports.rows("select weir.log(%s::bigint, %s::bigint, %s::jsonb)", [job.id, int(job._token), dumps(lines)])

    def register(self, settings: Mapping[str, Any]) -> None:
        self._reports.rows("select weir.register_worker(%s, %s::jsonb)", [self._worker, dumps(settings)])

    def alive(self, load: float) -> Tuple[str, bool]:
        told = self._reports.rows("select state, registered from weir.worker_heartbeat(%s, %s)", [self._worker, load])[0]
        return told["state"], told["registered"]

    def forget(self) -> None:
        self._reports.rows("select weir.remove_worker(%s)", [self._worker])

    def interrupt(self) -> None:
        self._interrupted = True
        self._ring()

    def close(self) -> None:
        for queues in list(self._parked):
            try:
                self._claims.rows("select weir.unpark(%s::text[], %s)", [list(queues), self._node])
            except WeirError:
                break  # it ends by itself
        self._claims.close()
        self._reports.close()


def _intervals(group: List[Ack]) -> List[Optional[str]]:
    return [None if a.delay is None else f"{a.delay:.6f} s" for a in group]


# How acks of an outcome are made, and what goes with ids and tokens.
_ACKS: Sequence[Tuple[Tuple[str, ...], str, Callable[[List[Ack]], List[Any]]]] = (
    (("complete",), "select weir.complete_many(%s::bigint[], %s::bigint[], %s::text[]::jsonb[])", lambda group: [[a.result for a in group]]),
    (("fail", "cancel"), "select job_id from weir.fail_many(%s::bigint[], %s::bigint[], %s::text[]::jsonb[], %s::text[]::interval[], %s::bool[], %s::bool[])",
     lambda group: [[dumps(a.error) for a in group], _intervals(group), [a.retry for a in group], [a.outcome == "cancel" for a in group]]),
    (("snooze",), "select weir.snooze_many(%s::bigint[], %s::bigint[], %s::text[]::interval[])", lambda group: [_intervals(group)]),
    (("release",), "select weir.release_many(%s::bigint[], %s::bigint[])", lambda group: []),
)
