"""For the tests of applications: a weir of their own, and jobs that are worked in the test's own thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import os
import shutil
import subprocess
import threading
import time
import types
from typing import Any, Iterable, List, Optional, Sequence, Tuple, Union

from .client import Ack, Client
from .error import Unavailable, WeirError
from .http import HTTP
from .job import Job
from .kind import Kind
from .runner import perform, perform_async
from .sql import SQL
from .worker import Worker


class Server:
    """``weir dev --ephemeral`` on a free port, with a private PostgreSQL in a temporary folder. It takes a few seconds
    to start: share one among the tests of a run. It ends when this program does, whichever way that ends.

        with weir.testing.Server() as server:
            client = server.http()
    """

    def __init__(self, program: Optional[str] = None, flags: Sequence[str] = (), timeout: float = 120.0) -> None:
        path = program or os.environ.get("WEIR_PROGRAM") or shutil.which("weir")
        if path is None:
            raise FileNotFoundError("the program weir is not on the PATH: install it, or name it with WEIR_PROGRAM")
        settings = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_") or k == "WEIR_POSTGRES_BIN"}
        self._process = subprocess.Popen(
            [path, "dev", "--ephemeral", "--addr", "127.0.0.1:0", "--json", "--until-eof", *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=settings)
        self._log: List[bytes] = []
        threading.Thread(target=self._read_log, daemon=True).start()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("weir dev did not start:\n" + self.log)
        told = json.loads(line)
        self.url: str = told["url"]
        self.dsn: str = told["database_url"]
        with open(told["admin_key_file"]) as file:
            self.key = file.read().strip()
        self._wait_until_ready(time.monotonic() + timeout)

    def _wait_until_ready(self, end: float) -> None:
        client = HTTP(self.url)
        while True:
            try:
                client.call("GET", "/readyz")
                return
            except Unavailable:
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._log.append(line)
            del self._log[:-1000]

    @property
    def log(self) -> str:
        """The end of what the server logged."""
        return b"".join(self._log).decode(errors="replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    def http(self, **settings: Any) -> HTTP:
        return HTTP(self.url, key=self.key, **settings)

    def sql(self, **settings: Any) -> SQL:
        return SQL(self.dsn, **settings)

    def stop(self) -> None:
        """Stops the server, and deletes its data."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def work(client: Client, kinds: Iterable[Union[Kind[Any, Any], types.ModuleType]], *, queues: Optional[Sequence[str]] = None,
         most: int = 1000, raises: bool = True) -> List[Tuple[Job[Any], str]]:
    """Works the jobs that are available, in this thread and one after the other, until there are none, and returns each
    with its outcome. Jobs that they enqueue are worked too. An exception of a handler is reported and then raised,
    unless ``raises`` is false."""
    worker = Worker(client, kinds, queues=queues, middleware=())
    names = [q for lane in worker.lanes() for q in lane.queues]
    line, worked = client.open_line(worker.name), []
    try:
        while len(worked) < most:
            claimed = line.claim(names, 1, 60, 0.0)
            if not claimed:
                break
            job: Job[Any] = Job.from_claim(claimed[0], line)
            ack = _perform(job, worker.kinds.get(job.kind))
            job._flush()
            if ack is not None and ack.adds:
                line.complete(ack)
            elif ack is not None:
                line.ack([ack])
            worked.append((job, ack.outcome if ack else "complete"))
            if raises and ack is not None and ack.outcome == "fail":
                raise AssertionError(f"job {job.id} ({job.kind}) failed:\n{(ack.error or {}).get('stack') or ack.error}")
    finally:
        with contextlib.suppress(WeirError):  # it may not have been noted yet
            line.forget()
        line.close()
    return worked


def _perform(job: Job[Any], kind: Optional[Kind[Any, Any]]) -> Optional[Ack]:
    context = contextvars.copy_context()
    if kind is None or not kind.is_async:
        return context.run(perform, job, kind, ())
    return context.run(asyncio.run, perform_async(job, kind, ()))
