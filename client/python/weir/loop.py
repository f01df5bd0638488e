"""The loop of a worker: what is claimed, started, kept alive and reported, and when.

One thread runs the loop and owns all its state. Calls and handlers run in others, and send what came of it to the
loop's mailbox.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from .backoff import Backoff
from .client import Ack, Line
from .error import WeirError
from .job import Job
from .report import Reporter
from .runner import Runner, stopped_ack

TICK = 0.05  # seconds between looks at what is due
WAIT = 30.0  # seconds that a claim waits for a job
GATHER = 0.005  # seconds that an ack waits for others, while there is more work in hand
AHEAD = 0.25  # seconds of work that are claimed ahead of free slots
SLOT_WAIT = 2.0  # seconds that a claimed job may wait for a slot; then others may have it
MAX_UNACKED = 2000  # acks that may wait before no more jobs are claimed
LAST_ACKS = 15.0  # seconds that a shutdown tries to send acks
LEFT_BEHIND = 5.0  # seconds that a handler has to stop, once it is told to at a shutdown

log = logging.getLogger("weir")


@dataclass(eq=False)
class Held:
    """A job that the worker has: from its claim until its ack is answered, or its lease is lost."""

    job: Job[Any]
    lane: "Lane"
    claimed_at: float
    beat_due: float
    phase: str = "waiting"  # running, ended
    started_at: float = 0.0
    reported: bool = False  # its timeout was reported while its handler goes on
    progress: Optional[Dict[str, Any]] = None  # what the heartbeat under way carries

    @property
    def deadline(self) -> float:
        """The service takes the job back at its timeout. The worker is a little early: it knows more of what happened."""
        return self.claimed_at + self.job.timeout_seconds - min(self.job.timeout_seconds / 10, 0.5)


@dataclass(eq=False)
class Lane:
    """Queues that share slots. Each lane claims by itself."""

    queues: Sequence[str]
    slots: int
    waiting: List[Held] = field(default_factory=list)
    running: int = 0
    claiming: bool = False
    not_until: float = 0.0
    dry: bool = False  # the last claim ahead of need got nothing
    mean: float = 0.0  # seconds of the last runs
    backoff: Backoff = field(default_factory=Backoff)
    asks: "queue.SimpleQueue[Any]" = field(default_factory=queue.SimpleQueue)

    def ahead(self) -> int:
        return 0 if self.mean <= 0 else int(min(self.most_ahead(), self.slots * AHEAD / self.mean))

    def most_ahead(self) -> int:
        return max(2 * self.slots, 8)

    def wanted(self, now: float) -> Tuple[int, bool]:
        """How many jobs to claim now, and whether to wait for them."""
        if self.claiming or now < self.not_until:
            return 0, False
        held = self.running + len(self.waiting)
        missing = min(self.slots + self.ahead() - held, 1000)
        if held < self.slots:
            return missing, True
        return (0, False) if self.dry or missing < max(1, self.ahead() // 2) else (missing, False)


class Loop:
    def __init__(self, line: Line, lanes: List[Lane], kind_limits: Dict[str, int], lease: int, grace: float, settings: Dict[str, Any],
                 make_runner: Callable[[Callable[..., None]], Runner], on_end: Callable[[Job[Any], str], None]) -> None:
        self._line, self._lanes, self._limits, self._lease, self._grace = line, lanes, kind_limits, lease, grace
        self._on_end = on_end
        self.mailbox: "queue.SimpleQueue[Tuple[Any, ...]]" = queue.SimpleQueue()
        self._runner = make_runner(lambda held, ack: self.mailbox.put((self._take_end, held, ack)))
        self._reporter = Reporter(line, lease, settings, self.mailbox.put)
        self._held: Dict[int, Held] = {}  # by the job's id
        self._active: Set[Held] = set()  # those whose handlers run, also where the lease is lost
        self._kinds_running: Dict[str, int] = {}
        self._unsent: List[Ack] = []
        self._unsent_since = self._ticked = 0.0
        self._accepted = False  # the service has ever answered a claim
        self._fatal: Optional[Exception] = None
        self._stopping = False
        self._kill_at = self._give_up_at = 0.0

    def ask_to_stop(self, at_once: bool = False) -> None:
        self.mailbox.put((self._stop, at_once))

    def run(self) -> None:
        for lane in self._lanes:
            threading.Thread(target=self._claimer, args=(lane,), name="weir-claims", daemon=True).start()
        try:
            while not self._finished():
                self._turn()
        finally:
            for lane in self._lanes:
                lane.asks.put(None)
            self._line.interrupt()
            self._runner.close()
            self._reporter.close()
        if self._fatal is not None:
            raise self._fatal

    def forget_worker(self) -> None:
        """Has the service forget a worker whose name comes never again."""
        try:
            self._line.forget()
        except WeirError as e:
            log.debug("this worker stays in the list: %s", e)

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._ticked + TICK:
            self._ticked = now
            self._tick(now)
        self._start(now)
        self._claim(now)
        patience = min(self._send_acks(now), TICK)
        try:
            message = self.mailbox.get(timeout=patience)
            while True:
                message[0](*message[1:])
                message = self.mailbox.get_nowait()
        except queue.Empty:
            pass

    # Claiming

    def _claimer(self, lane: Lane) -> None:
        for most, wait in iter(lane.asks.get, None):
            began = time.monotonic()
            try:
                claimed, error = self._line.claim(lane.queues, most, self._lease, wait), None
            except Exception as e:
                claimed, error = [], e
            self.mailbox.put((self._take_claim, lane, claimed, error, wait > 0, time.monotonic() - began))

    def _claim(self, now: float) -> None:
        if self._stopping or len(self._unsent) + self._reporter.adding > MAX_UNACKED or self._reporter.state != "active":
            return
        for lane in self._lanes:
            most, patient = lane.wanted(now)
            if most > 0:
                lane.claiming = True
                lane.asks.put((most, WAIT if patient else 0.0))

    def _take_claim(self, lane: Lane, claimed: Sequence[Any], error: Optional[Exception], patient: bool, took: float) -> None:
        now = time.monotonic()
        lane.claiming = False
        if error is None:
            self._accepted = True
            lane.dry = not patient and not claimed
            if patient and not claimed and took < 1.0:  # it did not wait: its node shuts down, or the worker is paused
                lane.not_until = now + lane.backoff.next()
            else:
                lane.backoff.reset()
        elif not self._stopping:
            if not getattr(error, "is_passing", False) and not self._accepted:
                self._fatal = error
                self._stop(False)
            lane.not_until = now + lane.backoff.next(getattr(error, "retry_after", None))
            log.warning("claiming fails; trying again in %.1f s: %s", lane.not_until - now, error)
        for c in claimed:
            held = Held(Job.from_claim(c, self._line), lane, now, now + self._lease / 3 * random.uniform(0.8, 1.0))
            before = self._held.get(held.job.id)
            if before in self._active:  # it was taken back, and comes again before a heartbeat has told
                self._runner.stop(before, "lost")
            self._held[held.job.id] = held
            if self._stopping:
                self._end(held, Ack(held.job, "release"))
            else:
                lane.waiting.append(held)

    # Running

    def _start(self, now: float) -> None:
        for lane in self._lanes:
            if lane.running >= lane.slots or not lane.waiting:
                continue
            kept = []
            for held in lane.waiting:
                kind = held.job.kind
                if lane.running >= lane.slots or self._kinds_running.get(kind, 0) >= self._limits.get(kind, 1 << 30):
                    kept.append(held)
                    continue
                held.phase, held.started_at = "running", now
                lane.running += 1
                self._active.add(held)
                self._kinds_running[kind] = self._kinds_running.get(kind, 0) + 1
                self._runner.start(held)
            lane.waiting = kept

    def _take_end(self, held: Held, ack: Optional[Ack]) -> None:
        """A handler has ended."""
        self._runner.ended(held)
        self._active.discard(held)
        held.lane.running -= 1
        self._kinds_running[held.job.kind] -= 1
        took = time.monotonic() - held.started_at
        held.lane.mean += (took - held.lane.mean) / 8 if held.lane.mean else took
        if held.reported:
            if time.monotonic() > held.deadline + 1:
                log.warning("the handler of job %d ended %.1f s after its timeout", held.job.id, time.monotonic() - held.deadline)
        elif self._held.get(held.job.id) is not held:
            self._settled(held.job, "lost")
        elif ack is not None:
            self._end(held, ack)
        else:
            self._forget(held, "complete" if held.job._completed_in else "lost")

    def _end(self, held: Held, ack: Ack) -> None:
        held.phase = "ended"
        if ack.adds:
            self._reporter.send_alone(ack, self._take_acks)
            return
        if not self._unsent:
            self._unsent_since = time.monotonic()
        self._unsent.append(ack)

    def _forget(self, held: Held, outcome: str) -> None:
        if self._held.get(held.job.id) is held:
            del self._held[held.job.id]
        self._settled(held.job, outcome)

    def _settled(self, job: Job[Any], outcome: str) -> None:
        if outcome == "lost":
            log.warning("lost the lease of job %d; another worker may run it", job.id)
        self._told(job, outcome)

    def _told(self, job: Job[Any], outcome: str) -> None:
        try:
            self._on_end(job, outcome)
        except Exception:
            log.exception("the hook on_end failed")

    def _release(self, held: Held) -> None:
        held.lane.waiting.remove(held)
        self._end(held, Ack(held.job, "release"))

    # Reporting

    def _send_acks(self, now: float) -> float:
        """Sends the acks that wait, and returns how long to wait for others."""
        if not self._unsent or self._reporter.acking:
            return TICK
        more = not self._stopping and len(self._unsent) < 500 and any(lane.running or lane.waiting for lane in self._lanes)
        left = self._unsent_since + GATHER - now
        if more and left > 0:
            return left
        batch, self._unsent = self._unsent[:1000], self._unsent[1000:]
        self._reporter.send_acks(batch, self._take_acks)
        return TICK

    def _take_acks(self, results: Sequence[Tuple[Ack, str]]) -> None:
        for ack, status in results:
            held = self._held.get(ack.job.id)
            if held is not None and held.job is ack.job:  # otherwise it was claimed again meanwhile
                del self._held[ack.job.id]
            self._settled(ack.job, ack.outcome if status == "ok" else "lost")

    def _take_beats(self, beaten: Sequence[Held], answer: Dict[int, bool]) -> None:
        for held in beaten:
            if held.phase == "ended" or self._held.get(held.job.id) is not held or held.job._completed_in:
                continue  # the answer to its ack tells
            if held.job.id not in answer:
                if held.phase == "waiting":
                    held.lane.waiting.remove(held)
                    self._forget(held, "lost")
                else:
                    self._runner.stop(held, "lost")
            elif answer[held.job.id]:
                if held.phase == "waiting":
                    self._release(held)  # which cancels it
                elif not held.job._stopped:
                    self._runner.stop(held, "cancelled")

    # What is due

    def _tick(self, now: float) -> None:
        due = [h for h in self._held.values() if h.phase != "ended" and not h.job._completed_in and h.job._stopped != "lost" and not h.reported
               and (now >= h.beat_due or h.job._progress and h.beat_due - now < self._lease / 3 - 1)]
        if due and not self._reporter.beating:
            for held in due:
                held.beat_due = now + self._lease / 3
                held.progress, held.job._progress = held.job._progress, None
            self._reporter.send_beats(due, self._take_beats)
        if not self._reporter.logging:
            self._reporter.send_logs([h.job for h in self._held.values() if h.job._lines and h.phase == "running"])
        busy = sum(lane.running for lane in self._lanes) / sum(lane.slots for lane in self._lanes)
        self._reporter.say_alive(busy, now)
        for held in [h for h in self._active if not h.job._stopped and now >= h.deadline]:
            self._time_out(held)
        for lane in self._lanes:
            for held in [h for h in lane.waiting if now - h.claimed_at > SLOT_WAIT]:
                lane.mean = max(lane.mean, AHEAD)  # runs take longer than expected: claim fewer ahead
                self._release(held)
        if self._stopping:
            self._tick_shutdown(now)

    def _time_out(self, held: Held) -> None:
        """The timeout is reported at once, whatever the handler does: the service takes the job back now. A thread that
        goes on keeps its slot, so there are never more handlers than slots."""
        self._runner.stop(held, "timeout")
        ack = stopped_ack(held.job)
        if ack is not None:
            held.reported = True
            self._unsent.append(ack)

    # Stopping

    def _stop(self, at_once: bool) -> None:
        now = time.monotonic()
        if not self._stopping:
            self._stopping = True
            self._line.interrupt()
            self._kill_at = now + self._grace
            for lane in self._lanes:
                for held in list(lane.waiting):
                    self._release(held)
            log.info("stopping: no more claims, %d handlers run", sum(lane.running for lane in self._lanes))
        if at_once:
            self._kill_at = min(self._kill_at, now)

    def _tick_shutdown(self, now: float) -> None:
        if now >= self._kill_at:
            for held in [h for h in self._active if not h.job._stopped]:
                self._runner.stop(held, "shutdown")
        if now >= self._kill_at + LEFT_BEHIND:
            for held in self._active:
                # Its lease runs out by itself. A release would let another worker begin while this handler goes on.
                log.error("the handler of job %d does not stop; it is left behind", held.job.id)
            self._active.clear()
        if not self._active and not self._give_up_at:
            self._give_up_at = now + LAST_ACKS
        if self._give_up_at and now >= self._give_up_at:
            self._reporter.give_up()

    def _finished(self) -> bool:
        return (self._stopping and not any(lane.claiming for lane in self._lanes) and not self._active
                and not self._unsent and not self._reporter.acking and not self._reporter.adding)
