"""What stands around handlers. A middleware is a function that makes a context manager of a job: it is entered before
the handler, left after it, and sees its exception. One form serves sync and async handlers.

    @contextmanager
    def timed(job):
        began = time.monotonic()
        yield
        histogram.observe(time.monotonic() - began)
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, Dict, Iterator, Mapping

from .error import Cancel, Snooze
from .job import Job, _current

log = logging.getLogger("weir.jobs")


@contextlib.contextmanager
def log_jobs(job: Job[Any]) -> Iterator[None]:
    """Logs how each job ended to the logger weir.jobs: at the level info, and at warning where it failed."""
    began = time.monotonic()
    what = f"job {job.id} ({job.kind}, attempt {job.attempt} of {job.max_attempts})"
    try:
        yield
    except (Snooze, Cancel) as e:
        log.info("%s: %s", what, e)
        raise
    except Exception as e:
        log.warning("%s failed after %.3f s: %s: %s", what, time.monotonic() - began, type(e).__name__, e)
        raise
    except BaseException:
        log.info("%s stopped after %.3f s: %s", what, time.monotonic() - began, job.stopped or "interrupted")
        raise
    log.info("%s is done after %.3f s", what, time.monotonic() - began)


@contextlib.contextmanager
def trace_jobs(job: Job[Any]) -> Iterator[None]:
    """Gives each job a span of OpenTelemetry, which must be installed. Its parent is the span that enqueued the job, if
    that job was made with ``traced``."""
    from opentelemetry import propagate, trace  # type: ignore[import-not-found]

    parent = propagate.extract({k: v for k, v in job.metadata.items() if isinstance(v, str)})
    attributes = {"messaging.system": "weir", "messaging.destination.name": job.queue, "messaging.message.id": str(job.id),
                  "weir.kind": job.kind, "weir.attempt": job.attempt}
    with trace.get_tracer("weir").start_as_current_span(
            f"{job.kind} process", context=parent, kind=trace.SpanKind.CONSUMER, attributes=attributes):
        yield


def traced(job: Any) -> Any:
    """The new job with the current trace in its metadata, for ``trace_jobs``. Without OpenTelemetry it is as it was."""
    try:
        from opentelemetry import propagate
    except ImportError:
        return job
    carrier: Dict[str, str] = {}
    propagate.inject(carrier)
    metadata: Mapping[str, Any] = job.options.get("metadata") or {}
    return job.but(metadata={**metadata, **carrier}) if carrier else job


class JobLogHandler(logging.Handler):
    """Copies what a handler logs with Python's logging to the log of its job:
    ``logging.getLogger().addHandler(weir.JobLogHandler())``."""

    _LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))

    def emit(self, record: logging.LogRecord) -> None:
        job = _current.get(None)
        if job is None or record.name.split(".")[0] == "weir":
            return
        level = next((word for least, word in self._LEVELS if record.levelno >= least), "debug")
        try:
            job.log(self.format(record), level, logger=record.name)
        except Exception:
            self.handleError(record)
