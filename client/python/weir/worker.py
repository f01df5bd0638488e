"""Workers: programs that run handlers for the jobs of some queues."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import types
import uuid
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Union, overload

from .client import Client
from .error import Seconds, seconds
from .job import Job
from .kind import Kind, _Decorator, decorate
from .loop import Lane, Loop
from .middleware import log_jobs
from .runner import Middleware, Runner

VERSION = "python"


class Worker:
    """Claims jobs and runs their handlers, until it is stopped.

    ``kinds`` are what it can do: kinds, or modules that have some. ``queues`` defaults to the queues of its kinds. A
    list of queues shares the ``concurrency``; a mapping gives each queue slots of its own: ``{"mail": 20, "video": 2}``.

    A claimed job is leased for ``lease`` seconds and kept alive while its handler runs. When the worker is stopped,
    handlers have ``grace`` seconds to finish; then they are told to stop, and their jobs go back to the queue.
    """

    def __init__(self, client: Client, kinds: Iterable[Union[Kind[Any, Any], types.ModuleType]] = (), *,
                 queues: Union[None, Sequence[str], Mapping[str, int]] = None, concurrency: int = 10, name: Optional[str] = None,
                 lease: Seconds = 30, grace: Seconds = 25, middleware: Sequence[Middleware] = (log_jobs,),
                 on_start: Optional[Callable[["Worker"], None]] = None, on_stop: Optional[Callable[["Worker"], None]] = None,
                 on_end: Optional[Callable[[Job[Any], str], None]] = None) -> None:
        self.client, self.middleware = client, list(middleware)
        self.kinds: Dict[str, Kind[Any, Any]] = {}
        self.name = name or f"{socket.gethostname()[:80]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._named = name is not None
        self._queues, self._concurrency = queues, concurrency
        self._lease, self._grace = max(1, round(seconds(lease))), seconds(grace)
        self._on_start, self._on_stop, self._on_end = on_start, on_stop, on_end
        self._loop: Optional[Loop] = None
        self._stop_asked = ""
        self._thread: Optional[threading.Thread] = None
        self.error: Optional[BaseException] = None  # of a worker that ran in the background
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Union[Kind[Any, Any], types.ModuleType]) -> None:
        """Adds a kind, or all kinds of a module."""
        if isinstance(kind, types.ModuleType):
            for member in vars(kind).values():
                if isinstance(member, Kind):
                    self.add(member)
            return
        if self.kinds.get(kind.name, kind) is not kind:
            raise ValueError(f"two handlers for jobs of kind {kind.name}")
        self.kinds[kind.name] = kind

    @overload
    def handler(self, kind: Callable[..., Any]) -> "Kind[..., Any]": ...
    @overload
    def handler(self, kind: Optional[str] = None, *, concurrency: Optional[int] = None, **options: Any) -> _Decorator: ...

    def handler(self, kind: Any = None, *, concurrency: Optional[int] = None, **options: Any) -> Any:
        """As ``weir.job``, and adds the kind to this worker."""
        return decorate(kind, concurrency, options, self.add)

    def lanes(self) -> List[Lane]:
        queues = self._queues if self._queues is not None else sorted({k.options.get("queue", "default") for k in self.kinds.values()})
        if isinstance(queues, str):
            raise TypeError("queues is a list of names, or a mapping of names to slots")
        slots = queues if isinstance(queues, Mapping) else {"": self._concurrency}
        if not queues or min(slots.values()) < 1:
            raise ValueError("a worker needs a queue, and at least one slot for each")
        return [Lane([q], n) for q, n in queues.items()] if isinstance(queues, Mapping) else [Lane(list(queues), self._concurrency)]

    # Running

    def run(self) -> None:
        """Works until SIGTERM or SIGINT, or until ``stop``. A second signal ends the grace."""
        if threading.current_thread() is not threading.main_thread():
            self._work(None)
            return
        before = {s: signal.signal(s, self._signalled) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._work(None)
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    async def run_async(self) -> None:
        """Works until it is cancelled, or until ``stop``. Async handlers run in the caller's event loop."""
        loop = asyncio.get_running_loop()
        ended: "asyncio.Future[None]" = loop.create_future()

        def work() -> None:
            try:
                self._work(loop)
            except BaseException as e:
                loop.call_soon_threadsafe(ended.set_exception, e)
            else:
                loop.call_soon_threadsafe(ended.set_result, None)
        threading.Thread(target=work, name="weir-worker", daemon=True).start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self.stop()
            await ended
            raise

    def start(self) -> "Worker":
        """Works in the background. ``with Worker(…):`` does this, and stops at the end."""
        def work() -> None:
            try:
                self._work(None)
            except BaseException as e:
                self.error = e
        self._thread = threading.Thread(target=work, name="weir-worker", daemon=True)
        self._thread.start()
        return self

    def stop(self, *, at_once: bool = False) -> None:
        """Asks the worker to stop and returns. It claims no more, and ends when its handlers have. ``at_once`` ends
        their grace. It may be called from any thread, and before the worker has begun."""
        self._stop_asked = "at once" if at_once or self._stop_asked == "at once" else "asked"
        loop = self._loop  # read once: _work sets it, and looks at _stop_asked after that
        if loop is not None:
            loop.ask_to_stop(at_once)

    def join(self, timeout: Optional[float] = None) -> None:
        """Waits for a worker in the background to end."""
        if self._thread is not None:
            self._thread.join(timeout)

    def __enter__(self) -> "Worker":
        return self.start()

    def __exit__(self, *_: Any) -> None:
        self.stop()
        self.join()
        if self.error is not None:
            raise self.error

    def _signalled(self, number: int, frame: Any) -> None:
        self.stop(at_once=bool(self._stop_asked))

    def _work(self, event_loop: Optional[asyncio.AbstractEventLoop]) -> None:
        lanes = self.lanes()
        limits = {k.name: k.concurrency for k in self.kinds.values() if k.concurrency is not None}
        settings = {"hostname": socket.gethostname()[:255], "version": VERSION, "queues": sorted({q for lane in lanes for q in lane.queues})[:100],
                    "capacity": min(10_000, sum(lane.slots + 2 * lane.most_ahead() for lane in lanes))}
        line = self.client.open_line(self.name)
        try:
            self._loop = Loop(line, lanes, limits, self._lease, self._grace, settings,
                              lambda done: Runner(self.kinds, self.middleware, sum(lane.slots for lane in lanes), done, event_loop),
                              self._on_end or (lambda job, outcome: None))
            if self._stop_asked:
                self._loop.ask_to_stop(self._stop_asked == "at once")
            if self._on_start is not None:
                self._on_start(self)
            self._loop.run()
            if not self._named:
                self._loop.forget_worker()
        finally:
            line.close()
            if self._on_stop is not None:
                self._on_stop(self)
