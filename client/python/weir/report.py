"""A worker's calls beside its claims: acks, heartbeats, logs, and that it is alive. Each kind has a thread, and one
call under way at a time, which carries all that has gathered since the last."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any, Callable, Dict, List, Sequence, Tuple

from .backoff import Backoff
from .client import Ack, Line
from .error import StaleToken, WeirError

ALIVE = 10.0  # seconds between reports that the worker is alive

log = logging.getLogger("weir")


class _Courier:
    """A thread that makes calls one after the other."""

    def __init__(self, name: str) -> None:
        self.busy = False
        self._calls: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def send(self, call: Callable[[], None]) -> None:
        if not self._thread.is_alive():
            self._thread.start()
        self.busy = True
        self._calls.put(call)

    def _run(self) -> None:
        for call in iter(self._calls.get, None):
            try:
                call()
            except Exception:
                log.exception("a report failed")
                self.busy = False

    def close(self) -> None:
        self._calls.put(None)


class Reporter:
    def __init__(self, line: Line, lease: int, settings: Dict[str, Any], post: Callable[[Tuple[Any, ...]], None]) -> None:
        self._line, self._lease, self._settings, self._post = line, lease, settings, post
        self._acks, self._beats, self._logs, self._signs = (_Courier(f"weir-{n}") for n in ("acks", "beats", "logs", "alive"))
        self._adds = _Courier("weir-adds")
        self.adding = 0  # completions under way that add something
        self._given_up = threading.Event()
        self._logs_due = self._alive_due = 0.0
        self._known = False
        self.state = "active"  # the worker's, as the service says

    @property
    def acking(self) -> bool:
        return self._acks.busy

    @property
    def beating(self) -> bool:
        return self._beats.busy

    @property
    def logging(self) -> bool:
        return self._logs.busy

    def give_up(self) -> None:
        """Ends the tries to send acks. The leases run out by themselves."""
        self._given_up.set()

    def close(self) -> None:
        self.give_up()
        for courier in (self._acks, self._beats, self._logs, self._signs, self._adds):
            courier.close()

    # Acks

    def send_acks(self, acks: Sequence[Ack], take: Callable[[Sequence[Tuple[Ack, str]]], None]) -> None:
        def call() -> None:
            results = self._settle(list(acks))
            self._post((self._done, self._acks, take, results))
        self._acks.send(call)

    def send_alone(self, ack: Ack, take: Callable[[Sequence[Tuple[Ack, str]]], None]) -> None:
        """Sends a completion that adds something: it may be refused, or wait for a lock."""
        self.adding += 1

        def call() -> None:
            self._post((self._added, take, self._settle_adding(ack)))
        self._adds.send(call)

    def _added(self, take: Callable[..., None], results: Any) -> None:
        self.adding -= 1
        take(results)

    def _settle_adding(self, ack: Ack) -> List[Tuple[Ack, str]]:
        wait = Backoff()
        while not self._given_up.is_set():
            try:
                self._line.complete(ack)
                return [(ack, "ok")]
            except StaleToken:
                return [(ack, "stale")]
            except WeirError as e:
                if not e.is_passing or e.code in ("queue_full", "quota_exceeded"):
                    error = {"type": "follow_up", "message": f"the service refuses what the completion adds: {e}"[:8000]}
                    return self._settle([Ack(ack.job, "fail", error=error)])
                log.warning("sending the completion of job %d fails; trying again: %s", ack.job.id, e)
                self._given_up.wait(wait.next(e.retry_after))
        log.error("the completion of job %d could not be sent; its lease runs out", ack.job.id)
        return [(ack, "unsent")]

    def _done(self, courier: _Courier, take: Callable[..., None], *results: Any) -> None:
        courier.busy = False
        take(*results)

    def _settle(self, acks: List[Ack]) -> List[Tuple[Ack, str]]:
        """Sends acks until they are answered. If they were accepted and only the answer was lost, they are stale the
        second time, which changes nothing."""
        wait = Backoff()
        while not self._given_up.is_set():
            try:
                answers = self._line.ack(acks)
                break
            except WeirError as e:
                if e.is_about_content or e.status == 409:
                    return self._settle_apart(acks, str(e))
                log.warning("sending %d acks fails; trying again: %s", len(acks), e)
                self._given_up.wait(wait.next(e.retry_after))
        else:
            log.error("%d acks could not be sent; the leases run out", len(acks))
            return [(a, "unsent") for a in acks]
        settled: List[Tuple[Ack, str]] = []
        for a, (status, why) in zip(acks, answers):
            settled += self._settle_apart([a], why) if status == "invalid" else [(a, status)]
        return settled

    def _settle_apart(self, acks: List[Ack], why: str) -> List[Tuple[Ack, str]]:
        """Finds the ack that is refused for its content, and fails its job with the reason."""
        if len(acks) > 1:
            half = len(acks) // 2
            return self._settle(acks[:half]) + self._settle(acks[half:])
        (a,) = acks
        if a.error is not None and a.error["type"] == "Refused":
            log.error("the ack of job %d is refused; its lease runs out: %s", a.job.id, why)
            return [(a, "refused")]
        what = "result" if a.outcome == "complete" else "error" if a.outcome == "fail" else a.outcome
        return self._settle([Ack(a.job, "fail", error={"type": "Refused", "message": f"the service refuses its {what}: {why}"}, retry=a.outcome == "fail" and a.retry)])

    # Heartbeats

    def send_beats(self, due: Sequence[Any], take: Callable[[Sequence[Any], Dict[int, bool]], None]) -> None:
        def call() -> None:
            try:
                answer = self._line.beat([(h.job, h.progress) for h in due], self._lease)
            except WeirError as e:
                # The worker cannot know whether it holds its leases, and goes on: acks are refused if it does not.
                log.warning("sending %d heartbeats fails; trying again: %s", len(due), e)
                self._post((self._again, due))
                return
            self._post((self._done, self._beats, take, due, answer))
        self._beats.send(call)

    def _again(self, due: Sequence[Any]) -> None:
        self._beats.busy = False
        for held in due:
            held.beat_due = time.monotonic() + min(self._lease / 6, 2.0)
            held.job._progress = held.job._progress or held.progress

    # Logs

    def send_logs(self, jobs: Sequence[Any]) -> None:
        now = time.monotonic()
        if not jobs or now < self._logs_due:
            return
        self._logs_due = now + 1.0

        def call() -> None:
            for job in jobs:
                job._flush()
            self._logs.busy = False
        self._logs.send(call)

    # That the worker is alive

    def say_alive(self, load: float, now: float) -> None:
        """Registers the worker, and says that it is alive. It works without that too, so errors are only logged."""
        if self._signs.busy or now < self._alive_due:
            return
        self._alive_due = now + ALIVE

        def call() -> None:
            try:
                if not self._known:
                    self._line.register(self._settings)
                    self._known = True
                state, registered = self._line.alive(load)
                if state != self.state:
                    log.info("this worker is %s now", state)
                self.state = state
                if not registered:
                    self._known, self._alive_due = False, 0.0
            except WeirError as e:
                self._known = self._known and e.status != 404
                log.warning("saying that this worker is alive fails: %s", e)
            self._signs.busy = False
        self._signs.send(call)
