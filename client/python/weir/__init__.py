"""weir for Python: enqueue jobs, and run workers for them, over REST or straight over SQL."""

from . import middleware, sql
from .client import Client, Handle
from .error import Cancel, DecodeError, Discard, JobFailed, JobStopped, RetryIn, Snooze, StaleToken, Unavailable, WeirError
from .event import Event
from .http import HTTP
from .job import Job, current_job
from .kind import Kind, NewJob, job
from .middleware import JobLogHandler, log_jobs, trace_jobs, traced
from .sql import SQL
from .worker import Worker
from .workflow import Step, Workflow

__all__ = [
    "HTTP", "SQL", "Cancel", "Client", "DecodeError", "Discard", "Event", "Handle", "Job", "JobFailed", "JobLogHandler", "JobStopped", "Kind",
    "NewJob", "RetryIn", "Snooze", "StaleToken", "Step", "Unavailable", "WeirError", "Worker", "Workflow", "current_job", "job", "log_jobs",
    "middleware", "sql", "trace_jobs", "traced",
]
