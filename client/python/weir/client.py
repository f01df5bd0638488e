"""What producers do, over either transport."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Callable, Dict, Generic, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

from .backoff import Backoff
from .codec import from_json, to_json
from .error import JobFailed, Seconds, WeirError, seconds
from .kind import NewJob

if TYPE_CHECKING:
    from .event import Event
    from .workflow import Workflow

R = TypeVar("R")
T = TypeVar("T")

MAX_BATCH = 10_000
ENDED = ("completed", "cancelled", "dead")


@dataclass(frozen=True)
class Handle(Generic[R]):
    """A job that was enqueued."""

    client: "Client"
    id: int
    duplicate: bool = False  # its unique key was taken: this is the job that has it
    hint: Any = Any

    def wait(self, timeout: Optional[Seconds] = None) -> R:
        """Waits for the job's end and returns its result. Raises JobFailed if it is dead or was cancelled, and
        TimeoutError if it has not ended by then; the job goes on."""
        end = None if timeout is None else time.monotonic() + seconds(timeout)
        while True:
            left = 20.0 if end is None else min(20.0, max(0.0, end - time.monotonic()))
            job = self.client._job(self.id, left)
            if job["state"] == "completed":
                return from_json(self.hint, job.get("result"), "result")
            if job["state"] in ENDED:
                error = (job.get("errors") or [{}])[-1]
                text = f"job {self.id} is {job['state']}" + (f": {error['message']}" if error.get("message") else "")
                raise JobFailed(text, job["state"], status=409, problem=error)
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"job {self.id} is {job['state']} still")

    async def wait_async(self, timeout: Optional[Seconds] = None) -> R:
        return await asyncio.to_thread(self.wait, timeout)


class Client:
    """Enqueues jobs and looks at them. HTTP and SQL are its two forms, and do the same.

    A call whose answer is lost, or that is refused for the moment, is made again for up to ``retry_for`` seconds with
    growing waits. It carries an idempotency key, so it is never done twice.
    """

    def __init__(self, retry_for: Seconds) -> None:
        self.retry_for = seconds(retry_for)

    # Producing

    def enqueue(self, job: NewJob[R], *, idempotency_key: Optional[str] = None) -> Handle[R]:
        """Enqueues one job. With an idempotency key of your own, another call with it within 24 hours, from any
        process, gets the first one's job."""
        key = idempotency_key or uuid.uuid4().hex
        ((id, duplicate),) = self._again(lambda: self._enqueue([job.fields()], key))
        return Handle(self, id, duplicate, job.result)

    def enqueue_many(self, jobs: Iterable[NewJob[R]]) -> List[Handle[R]]:
        """Enqueues jobs in transactions of up to 10,000: each is stored as a whole or not at all."""
        all_jobs, handles = list(jobs), []
        for start in range(0, len(all_jobs), MAX_BATCH):
            batch, key = all_jobs[start:start + MAX_BATCH], uuid.uuid4().hex
            fields = [j.fields() for j in batch]
            stored = self._again(lambda: self._enqueue(fields, key))
            handles += [Handle(self, id, duplicate, j.result) for (id, duplicate), j in zip(stored, batch)]
        return handles

    async def enqueue_async(self, job: NewJob[R], *, idempotency_key: Optional[str] = None) -> Handle[R]:
        return await asyncio.to_thread(self.enqueue, job, idempotency_key=idempotency_key)

    async def enqueue_many_async(self, jobs: Iterable[NewJob[R]]) -> List[Handle[R]]:
        return await asyncio.to_thread(self.enqueue_many, jobs)

    def handle(self, id: int, hint: Any = Any) -> Handle[Any]:
        """The handle of a job of which only the id is known."""
        return Handle(self, id, False, hint)

    def get(self, id: int) -> Dict[str, Any]:
        """The job as it is now."""
        return self._again(lambda: self._job(id, 0))

    def cancel(self, id: int) -> str:
        """Cancels a job that waits (``cancelled``), or asks the worker of one that runs to stop (``running``)."""
        return self._again(lambda: self._cancel(id))

    # Workflows

    def submit(self, workflow: "Workflow", *, idempotency_key: Optional[str] = None) -> int:
        """Stores a workflow and returns its id. Wait for a step of it with ``workflow_result``."""
        key = idempotency_key or uuid.uuid4().hex
        return self._again(lambda: self._submit(workflow.definition(), key))

    def workflow_result(self, id: int, step: "Union[str, Any]", timeout: Optional[Seconds] = None) -> Any:
        """Waits for a step of a workflow, and returns its result as the step's hint says."""
        name = step if isinstance(step, str) else step.name
        job_id = self._again(lambda: self._step_job(id, name))
        return self.handle(job_id, Any if isinstance(step, str) else step.result).wait(timeout)

    def signal(self, workflow_id: int, name: str, payload: Any = None) -> None:
        """Sends a signal to a workflow."""
        self._again(lambda: self._signal(workflow_id, name, to_json(payload)))

    # Schedules

    def schedule(self, name: str, job: "Union[NewJob[Any], Workflow]", *, cron: Optional[str] = None, every: Optional[Seconds] = None,
                 at: Optional[datetime] = None, **settings: Any) -> None:
        """Makes or replaces a schedule that enqueues a job, or submits a workflow, at set times. The other settings,
        such as ``timezone`` and ``overlap``, are those of docs/schedules.md."""
        what = {"job": job.fields()} if isinstance(job, NewJob) else {"workflow": job.definition()}
        when = {"cron": cron, "every_seconds": None if every is None else round(seconds(every)), "at": to_json(at)}
        definition = {**what, **{k: v for k, v in when.items() if v is not None}, **to_json(settings)}
        self._again(lambda: self._set_schedule(name, definition))

    def unschedule(self, name: str) -> None:
        """Deletes a schedule. What it has made goes on."""
        self._again(lambda: self._delete_schedule(name))

    def _again(self, call: Callable[[], T]) -> T:
        """Makes a call until it is answered for good."""
        wait, end = Backoff(), time.monotonic() + self.retry_for
        while True:
            try:
                return call()
            except WeirError as e:
                pause = wait.next(e.retry_after)
                if not e.is_passing or time.monotonic() + pause > end:
                    raise
            time.sleep(pause)

    # Events

    def events(self, *, queue: "Union[str, Sequence[str]]" = (), kind: "Union[str, Sequence[str]]" = (), event: Sequence[str] = (),
               job_id: Optional[int] = None, workflow_id: Optional[int] = None, after: Optional[str] = None) -> "Iterator[Event]":
        """What happens to jobs, workflows and workers, as it happens, without an end: of all queues and kinds, or of one.
        When the connection breaks it goes on after the last event that came. ``after`` is the id of an event to go on from.

        Over SQL there are no events of workers and circuit breakers, and an event comes about half a second after it
        happened, or when the transactions that wrote before it have ended. An id is of use over the way that it came from."""
        filter = {"queue": _only("queue", queue), "kind": _only("kind", kind), "event": [event] if isinstance(event, str) else list(event),
                  "job_id": job_id and str(job_id), "workflow_id": workflow_id and str(workflow_id)}
        return self._events({k: v for k, v in filter.items() if v}, after)

    # What each transport does. Ids are ints, and errors are WeirErrors.

    def _enqueue(self, jobs: Sequence[Mapping[str, Any]], key: str) -> List[Tuple[int, bool]]:
        raise NotImplementedError

    def _job(self, id: int, wait: float) -> Dict[str, Any]:
        raise NotImplementedError

    def _cancel(self, id: int) -> str:
        raise NotImplementedError

    def _submit(self, definition: Mapping[str, Any], key: str) -> int:
        raise NotImplementedError

    def _step_job(self, workflow_id: int, step: str) -> int:
        raise NotImplementedError

    def _signal(self, workflow_id: int, name: str, payload: Any) -> None:
        raise NotImplementedError

    def _set_schedule(self, name: str, definition: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _delete_schedule(self, name: str) -> None:
        raise NotImplementedError

    def _events(self, filter: Mapping[str, Any], after: Optional[str]) -> "Iterator[Event]":
        raise NotImplementedError

    def open_line(self, worker: str) -> "Line":
        """What a worker of this name claims and reports through."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the connections."""

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _only(name: str, given: "Union[str, Sequence[str]]") -> Optional[str]:
    values = [given] if isinstance(given, str) else list(given)
    if len(values) > 1:
        raise ValueError(f"events are of one {name}, or of all: not of {len(values)}")
    return values[0] if values else None


@dataclass
class Ack:
    """How an attempt ended, as it is reported."""

    job: Any
    outcome: str  # complete, fail, snooze, release; or cancel: a fail that cancels the job
    result: Optional[str] = None  # JSON text
    error: Optional[Dict[str, Any]] = None
    retry: bool = True
    delay: Optional[float] = None  # of a snooze, or before the retry
    jobs: Sequence[Mapping[str, Any]] = ()  # what a completion stores with it
    steps: Sequence[Mapping[str, Any]] = ()

    @property
    def adds(self) -> bool:
        return bool(self.jobs or self.steps)


class Line:
    """A worker's line to weir, over one of the transports. Its methods are called from several threads."""

    def claim(self, queues: Sequence[str], most: int, lease: int, wait: float) -> List[Mapping[str, Any]]:
        raise NotImplementedError

    def ack(self, acks: Sequence[Ack]) -> List[Tuple[str, str]]:
        """Reports them, and returns for each ``ok``, ``stale`` or ``invalid``, and what is invalid."""
        raise NotImplementedError

    def complete(self, ack: Ack) -> None:
        """Completes a job and stores what that adds, all or nothing."""
        raise NotImplementedError

    def beat(self, jobs: Sequence[Tuple[Any, Optional[Mapping[str, Any]]]], lease: int) -> Dict[int, bool]:
        """Extends leases; each job comes with its progress, if that is new. Returns by id whether the job was cancelled; what is missing is lost."""
        raise NotImplementedError

    def log(self, job: Any, lines: Sequence[Mapping[str, Any]]) -> None:
        raise NotImplementedError

    def register(self, settings: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def alive(self, load: float) -> Tuple[str, bool]:
        """Says that the worker is alive. Returns its state and whether it is registered."""
        raise NotImplementedError

    def forget(self) -> None:
        """Has the service forget the worker."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Ends a claim that waits, now and from now on."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
