"""What can go wrong, and what a handler raises to say how its job goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Mapping, Optional, Union

Seconds = Union[int, float, timedelta]


def seconds(length: Seconds) -> float:
    return length.total_seconds() if isinstance(length, timedelta) else float(length)


class WeirError(Exception):
    """A call was not done. ``code`` is for programs and keeps its meaning; docs/rest.md and docs/sql.md list all."""

    def __init__(self, message: str, code: str = "", *, status: int = 0, retry_after: Optional[float] = None,
                 problem: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after  # seconds, where the service names them
        self.problem = dict(problem or {})

    @property
    def is_passing(self) -> bool:
        """Another try may succeed."""
        return self.status in (0, 408, 429, 500, 502, 503, 504) and not isinstance(self, StaleToken)

    @property
    def is_about_content(self) -> bool:
        """The service refuses what was sent, in whatever form it is sent again."""
        return self.status in (400, 413, 422)


class StaleToken(WeirError):
    """The job's lease is not held any more: it ended, expired, or another worker has the job. Nothing was changed."""


class Unavailable(WeirError):
    """The service or the database cannot be reached, or says that it cannot answer now."""


class JobFailed(WeirError):
    """The job whose result was awaited is dead or was cancelled. ``problem`` is its last error."""


class DecodeError(ValueError):
    """A value is not of the type that the hints name. The message begins with its place."""


class Snooze(Exception):
    """Raise it to run the job again after a while. No attempt is lost."""

    def __init__(self, delay: Seconds) -> None:
        super().__init__(f"again in {seconds(delay)} s")
        self.delay = seconds(delay)


class RetryIn(Exception):
    """Raise it to fail the attempt, and to say how long to wait before the next."""

    def __init__(self, delay: Seconds, reason: str = "") -> None:
        super().__init__(reason or f"retry in {seconds(delay)} s")
        self.delay = seconds(delay)


class Discard(Exception):
    """Raise it to fail the job for good: another try is of no use. It becomes a dead letter."""


class Cancel(Exception):
    """Raise it to cancel the job from within: it was not needed. It is no failure and no dead letter."""


class JobStopped(BaseException):
    """Raised in a thread by ``job.check()`` when the job must stop: cancelled, timed out, lost, or at a shutdown.

    Like asyncio.CancelledError it is no Exception, so that ``except Exception`` does not swallow it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
