"""A worker's line over SQL: claims and waits for jobs on one connection, acks and heartbeats on another."""

from __future__ import annotations

import select
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from .client import Ack, Line
from .codec import dumps
from .error import WeirError
from .sql_connection import Connection

if TYPE_CHECKING:
    from .sql import SQL

LOOK = 1.0  # seconds between looks for jobs that no notification told of
PARK = 30  # seconds that a waiting process is known as one

COMPLETE = "select weir.complete(%s::bigint, %s::bigint, %s::jsonb, jobs => %s::jsonb, steps => %s::jsonb)::text"


def completion(job: Any, result: Optional[str]) -> List[Any]:
    added = [dumps(some) if some else None for some in (job._jobs, job._steps)]
    return [job.id, int(job._token), result, *added]


class SQLLine(Line):
    """Claims on one connection and reports on the other. Several threads may wait for notifications of the first: the
    one whose statement receives them wakes all."""

    def __init__(self, sql: SQL, worker: str) -> None:
        self._worker, self._node = worker, f"{worker[:100]}-{uuid.uuid4().hex[:8]}"
        self._claims, self._reports = Connection(lambda: self._listen(sql._connect())), Connection(sql._connect)
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
        last = {a.job.id: a for a in acks}  # a job that came again has an older one, which is stale
        return [("ok" if a.job.id in accepted and last[a.job.id] is a else "stale", "") for a in acks]

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
        self._reports.rows(COMPLETE, completion(ack.job, ack.result))

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
