"""Runs handlers: sync ones in threads, async ones in an event loop, each with its middleware around it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
import traceback
from typing import Any, Callable, ContextManager, Dict, Mapping, Optional, Sequence

from .client import Ack
from .codec import clean, dumps
from .error import Cancel, DecodeError, Discard, JobStopped, RetryIn, Snooze
from .job import Job, _current
from .kind import Kind

Middleware = Callable[[Job[Any]], ContextManager[Any]]
Done = Callable[[Any, Optional[Ack]], None]


class Runner:
    """Runs at most as many handlers at once as its worker starts; it makes its threads when they are first needed."""

    def __init__(self, kinds: Mapping[str, Kind[Any, Any]], middleware: Sequence[Middleware], threads: int, done: Done,
                 loop: Optional[asyncio.AbstractEventLoop] = None) -> None:
        self._kinds, self._middleware, self._most, self._done = kinds, middleware, threads, done
        self._work: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        self._threads = self._busy = 0
        self._loop, self._own_loop = loop, False
        self._tasks: Dict[Any, Any] = {}

    def start(self, held: Any) -> None:
        """Begins with a job. ``done`` is called with its ack, from another thread, when it has ended."""
        kind = self._kinds.get(held.job.kind)
        if kind is not None and kind.is_async:
            self._event_loop().call_soon_threadsafe(self._start_task, held, kind)
            return
        self._busy += 1
        if self._busy > self._threads and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._slot, name=f"weir-{self._threads}", daemon=True).start()
        self._work.put((held, kind))

    def ended(self, held: Any) -> None:
        kind = self._kinds.get(held.job.kind)
        if kind is None or not kind.is_async:
            self._busy -= 1

    def stop(self, held: Any, reason: str) -> None:
        """Tells a job that runs to stop."""
        held.job._stop(reason)
        if self._loop is not None and held in self._tasks:
            self._loop.call_soon_threadsafe(self._cancel, held)

    def close(self) -> None:
        for _ in range(self._threads):
            self._work.put(None)
        if self._own_loop and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _slot(self) -> None:
        for held, kind in iter(self._work.get, None):
            ack = contextvars.copy_context().run(perform, held.job, kind, self._middleware)
            held.job._flush()
            self._done(held, ack)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop, self._own_loop = asyncio.new_event_loop(), True
            threading.Thread(target=self._loop.run_forever, name="weir-asyncio", daemon=True).start()
        return self._loop

    def _start_task(self, held: Any, kind: Kind[Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._run_task(held.job, kind))
        self._tasks[held] = task
        task.add_done_callback(lambda ended: self._task_ended(held, ended))
        if held.job._stopped:
            task.cancel()

    def _cancel(self, held: Any) -> None:
        if held in self._tasks:
            self._tasks[held].cancel()

    async def _run_task(self, job: Job[Any], kind: Kind[Any, Any]) -> Optional[Ack]:
        ack = await perform_async(job, kind, self._middleware)
        if job._lines:
            await asyncio.to_thread(job._flush)
        return ack

    def _task_ended(self, held: Any, task: Any) -> None:
        del self._tasks[held]
        # A task that is cancelled before its first step never enters the handler.
        self._done(held, stopped_ack(held.job) if task.cancelled() else task.result())


def perform(job: Job[Any], kind: Optional[Kind[Any, Any]], middleware: Sequence[Middleware]) -> Optional[Ack]:
    """Runs a sync handler and returns how it ended. None: there is nothing to report."""
    _current.set(job)
    try:
        if kind is None:
            raise LookupError(f"this worker has no handler for jobs of kind {job.kind}")
        with contextlib.ExitStack() as around:
            for m in middleware:
                around.enter_context(m(job))
            result = kind.run(job, job.args)
            return result_ack(job, result)
    except BaseException as e:
        return failed_ack(job, e)


async def perform_async(job: Job[Any], kind: Kind[Any, Any], middleware: Sequence[Middleware]) -> Optional[Ack]:
    """Runs an async handler, as perform does a sync one."""
    _current.set(job)
    try:
        with contextlib.ExitStack() as around:
            for m in middleware:
                around.enter_context(m(job))
            result = await kind.run(job, job.args)
            return result_ack(job, result)
    except BaseException as e:
        return failed_ack(job, e)


def result_ack(job: Job[Any], result: Any) -> Optional[Ack]:
    if job._completed_in:
        return None
    return Ack(job, "complete", result=None if result is None else dumps(result), jobs=job._jobs, steps=job._steps)


def stopped_ack(job: Job[Any]) -> Optional[Ack]:
    """For a handler that stopped because it was told to."""
    if job._stopped == "timeout":
        return Ack(job, "fail", error={"type": "Timeout", "message": f"ran past its timeout of {job.timeout_seconds} seconds"})
    return None if job._stopped == "lost" else Ack(job, "release")


def failed_ack(job: Job[Any], e: BaseException) -> Optional[Ack]:
    job._completed_in = False  # its transaction was rolled back, or the lease runs out
    if isinstance(e, (JobStopped, asyncio.CancelledError)) and job._stopped:
        return stopped_ack(job)
    if isinstance(e, Snooze):
        return Ack(job, "snooze", delay=e.delay)
    if isinstance(e, Cancel):
        return Ack(job, "cancel", error={"type": "Cancel", "message": clean(str(e), 8000) or "cancelled by its handler"})
    if job._stopped == "lost":
        return None
    cause = e.__cause__ if isinstance(e, (RetryIn, Discard)) and e.__cause__ is not None else e
    named = type(cause).__name__ if type(cause).__module__ == "builtins" else f"{type(cause).__module__}.{type(cause).__qualname__}"
    error = {"type": "DecodeError" if isinstance(e, DecodeError) else named, "message": clean(str(e), 8000) or type(e).__name__,
             "stack": clean("".join(traceback.format_exception(type(e), e, e.__traceback__))[-16_000:], 16_000)}
    return Ack(job, "fail", error=error, retry=not isinstance(e, Discard), delay=e.delay if isinstance(e, RetryIn) else None)
