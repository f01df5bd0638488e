"""The SQL transport, and the calls that share the application's own transaction.

``enqueue``, ``enqueue_many``, ``submit`` and ``complete`` take a connection of psycopg 3 (also an asyncio one: then
await them) or of psycopg2, and run in its transaction.
"""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

from .backoff import Backoff
from .client import Client, Line
from .codec import dumps
from .error import Seconds, Unavailable, WeirError
from .event import Event
from .kind import NewJob
from .sql_connection import Connection, error_of, rows_of, surfaced
from .sql_line import COMPLETE, SQLLine, completion

if TYPE_CHECKING:
    from .workflow import Workflow

T = TypeVar("T")

EVENTS = 0.25  # seconds between looks for events

def is_async(connection: Any) -> bool:
    return inspect.iscoroutinefunction(connection.commit)


def _in(connection: Any, sql: str, args: Sequence[Any], read: Callable[[List[Tuple[Any, ...]]], T]) -> T:
    """Runs a statement in the connection's transaction. Of an asyncio connection it returns what is to be awaited."""
    cursor = connection.cursor()
    if is_async(connection):
        return _in_async(cursor, sql, args, read)  # type: ignore[return-value]
    with surfaced():
        cursor.execute(sql, args)
        rows = cursor.fetchall()
        cursor.close()
    return read([_row(r) for r in rows])


async def _in_async(cursor: Any, sql: str, args: Sequence[Any], read: Callable[[List[Tuple[Any, ...]]], T]) -> T:
    with surfaced():
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
    return _in(connection, COMPLETE, completion(job, text), lambda rows: None)


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
        self._own = Connection(self._connect)

    def _connect(self) -> Any:
        import psycopg
        return psycopg.connect(self._conninfo, **{"connect_timeout": 10, "application_name": "weir-python", **self._options, "autocommit": True})

    def rows(self, sql: str, args: Sequence[Any] = ()) -> List[Dict[str, Any]]:
        """Runs a statement, commits it, and returns its rows by the names of their columns."""
        return self._run(lambda raw: rows_of(raw, sql, args))

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
                rows.extend(rows_of(raw, _ENQUEUE.replace("duplicate", "duplicate, pg_current_xact_id()::text as xid"), [dumps(jobs)]))
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
        return SQLLine(self, worker)

    def close(self) -> None:
        self._own.close()
