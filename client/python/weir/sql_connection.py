"""Connections of psycopg 3 that open again when they break, and what a driver's errors mean."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Sequence, TypeVar

from .error import StaleToken, Unavailable, WeirError

T = TypeVar("T")

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
def surfaced() -> Iterator[None]:
    """Turns what weir refuses into its errors. Others, such as a broken connection, stay the driver's: the
    application's transaction handles those."""
    try:
        yield
    except Exception as e:
        if _is_driver_error(e) and (getattr(e, "sqlstate", None) or getattr(e, "pgcode", None) or "").startswith("WR"):
            raise error_of(e) from e
        raise


def rows_of(raw: Any, sql: str, args: Sequence[Any]) -> List[Dict[str, Any]]:
    from psycopg.rows import dict_row
    with raw.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql, args).fetchall()


class Connection:
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
        return self.run(lambda raw: rows_of(raw, sql, args))

    def close(self) -> None:
        with self._lock:
            if self.raw is not None:
                self.raw.close()
                self.raw = None
