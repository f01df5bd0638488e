"""The job that a handler runs."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Dict, Generic, List, Mapping, Optional, TypeVar

from .codec import _time, clean, dumps, from_json, to_json
from .error import JobStopped

if TYPE_CHECKING:
    from .kind import NewJob
    from .workflow import Workflow

A = TypeVar("A")

log = logging.getLogger("weir")

_current: contextvars.ContextVar["Job[Any]"] = contextvars.ContextVar("weir_job")

MAX_LINES = 5000  # lines of a log that wait to be sent; more are dropped, and a line says how many


def current_job() -> "Job[Any]":
    """The job that this thread or task runs. A LookupError outside of handlers."""
    return _current.get()


@dataclass
class Job(Generic[A]):
    """A claimed job. Everything that is said about it carries its lease, so a handler never sees a token."""

    id: int
    kind: str
    queue: str
    attempt: int
    max_attempts: int
    priority: int
    timeout_seconds: int
    created_at: datetime
    args: A
    tags: List[str] = field(default_factory=list)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    dependencies: Optional[Mapping[str, Any]] = None
    degraded: bool = False

    _token: Any = field(default=None, repr=False)
    _store: Any = field(default=None, repr=False)
    _stopped: str = field(default="", repr=False)  # why it must stop; empty: it need not
    _wake: threading.Event = field(default_factory=threading.Event, repr=False)
    _progress: Optional[Dict[str, Any]] = field(default=None, repr=False)
    _lines: List[Dict[str, Any]] = field(default_factory=list, repr=False)
    _dropped: int = field(default=0, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _log_turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _completed_in: bool = field(default=False, repr=False)
    _jobs: List[Mapping[str, Any]] = field(default_factory=list, repr=False)  # to be stored with its completion
    _steps: List[Mapping[str, Any]] = field(default_factory=list, repr=False)

    @classmethod
    def from_claim(cls, claimed: Mapping[str, Any], store: Any) -> "Job[Any]":
        """From a job of POST /v1/claims or a row of weir.claim."""
        created = claimed["created_at"]
        return cls(
            id=int(claimed["id"]), kind=claimed["kind"], queue=claimed["queue"], attempt=claimed["attempt"],
            max_attempts=claimed["max_attempts"], priority=claimed["priority"], timeout_seconds=claimed["timeout_seconds"],
            created_at=_time(created) if isinstance(created, str) else created, args=claimed["args"],
            tags=claimed.get("tags") or [], metadata=claimed.get("metadata") or {}, dependencies=claimed.get("dependencies"),
            degraded=bool(claimed.get("degraded")), _token=claimed["token"], _store=store)

    @property
    def stopped(self) -> str:
        """Why the job must stop: ``cancelled``, ``timeout``, ``lost`` (another worker may have it), ``shutdown``, or empty."""
        return self._stopped

    @property
    def cancelled(self) -> bool:
        return self._stopped == "cancelled"

    def check(self) -> None:
        """Raises JobStopped if the job must stop. A handler in a thread calls it now and then: a thread cannot be
        interrupted from outside. In asyncio the task is cancelled, and nothing need be called."""
        if self._stopped:
            raise JobStopped(self._stopped)

    def sleep(self, length: float) -> None:
        """Sleeps in a thread, and raises JobStopped at once when the job must stop."""
        self._wake.wait(length)
        self.check()

    def progress(self, percent: float, message: str = "") -> None:
        """Says how far the job is. It is sent with the next heartbeat, within about a second."""
        told: Dict[str, Any] = {"percent": min(100.0, max(0.0, round(float(percent), 3)))}
        if message:
            told["message"] = clean(message, 500)
        dumps(told)  # a percent that is no number is the handler's mistake
        self._progress = told

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        """Adds a line to the job's log. Lines are sent in batches, about once a second."""
        line: Dict[str, Any] = {"message": clean(message, 8192) or " ", "level": level, "at": time.time()}
        if fields:
            line["fields"] = to_json(fields)
        with self._lock:
            if len(self._lines) < MAX_LINES:
                self._lines.append(line)
            else:
                self._dropped += 1

    def dependency(self, step: str, hint: Any = Any) -> Any:
        """The result of a step of the workflow that this one depends on, as its hint says."""
        return from_json(hint, (self.dependencies or {})[step], f"dependencies.{step}")

    def enqueue(self, job: "NewJob[Any]") -> None:
        """Makes a follow-up job: it is stored in the transaction that completes this job, and not at all if this attempt
        does not complete. Its parent is this job and its tenant is its tenant, unless it names others. Where the service
        refuses it, the attempt fails with the reason."""
        self._jobs.append(job.fields())

    def add_steps(self, workflow: "Workflow") -> None:
        """Adds the steps of ``workflow`` to the workflow that this job is a step of, as ``enqueue`` does jobs. They may
        come after this step, each other, and any other step, by its name."""
        self._steps.extend(workflow.definition()["steps"])

    def complete_in(self, connection: Any, result: Any = None) -> None:
        """Completes the job in the caller's transaction: its effects commit with the completion, or not at all.

        ``connection`` is one of psycopg 3 or psycopg2. Raises StaleToken where the lease is not held any more; the
        transaction must then be rolled back. Do it last: heartbeats of the job end here.
        """
        from . import sql
        self._completed_in = True  # before the statement: a heartbeat would wait for its transaction
        if sql.is_async(connection):
            return self._complete_in_async(connection, result)  # type: ignore[return-value]
        self._flush()
        sql.complete(connection, self, result)

    async def _complete_in_async(self, connection: Any, result: Any) -> None:
        from . import sql
        await asyncio.to_thread(self._flush)
        await sql.complete(connection, self, result)  # type: ignore[func-returns-value]

    def _stop(self, reason: str) -> None:
        self._stopped = self._stopped or reason
        self._wake.set()

    def _flush(self) -> None:
        """Sends the lines of the log that wait. A job that has ended takes none, so this comes before its end."""
        with self._log_turn:  # lines that are on their way come before the end too
            lines = self._take_lines() if self._lines else []
            while lines:
                some: List[Dict[str, Any]] = []
                try:
                    size = 0
                    while lines and len(some) < 500 and size < 500_000:
                        some.append(lines.pop(0))
                        size += len(dumps(some[-1]))
                    self._store.log(self, some)
                except Exception as e:  # a log is worth no job
                    log.warning("%d lines of the log of job %d are lost: %s", len(some) + len(lines), self.id, e)
                    return

    def _take_lines(self) -> List[Dict[str, Any]]:
        with self._lock:
            lines, self._lines = self._lines, []
            if self._dropped:
                lines.append({"message": f"{self._dropped} lines were dropped here", "level": "warn", "at": time.time()})
                self._dropped = 0
        for line in lines:
            line["at"] = datetime.fromtimestamp(line["at"]).astimezone().isoformat()
        return lines
