"""The tests run against a real weir: one server, and for each test queues of its own. WEIR_PROGRAM names the program."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import weir  # noqa: E402
import weir.testing  # noqa: E402

PATIENCE = 120.0  # seconds: a safety net, and no expectation


@pytest.fixture(scope="session")
def server():
    with weir.testing.Server() as server:
        yield server


@pytest.fixture(params=["http", "sql"])
def client(request, server):
    with getattr(server, request.param)() as client:
        yield client


_numbers = itertools.count(1)


@pytest.fixture
def queue():
    return f"q{os.getpid()}-{next(_numbers)}"


def eventually(what, look):
    """Waits until look() is true, and returns what it returns."""
    end = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def settled(client, handle, *states):
    """Waits until a job is in one of the states, and returns it."""
    return eventually(f"job {handle.id} is {states}", lambda: (lambda j: j if j["state"] in states else None)(client.get(handle.id)))


def free_port():
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def working(client, *kinds, **settings):
    with weir.Worker(client, kinds, **{"lease": 5, "concurrency": 4, "grace": 30, "middleware": (), **settings}) as worker:
        yield worker


class Node:
    """A node of its own on the server's database, to be killed and started again at the same address."""

    def __init__(self, server, **settings):
        self._server, self._addr, self._settings = server, f"127.0.0.1:{free_port()}", settings
        self.url = "http://" + self._addr
        self.start()

    def start(self):
        settings = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
        settings.update(WEIR_DATABASE_URL=self._server.dsn, WEIR_ADDR=self._addr, **self._settings)
        self._process = subprocess.Popen([os.environ["WEIR_PROGRAM"], "serve"], env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def ready():
            try:
                weir.HTTP(self.url).call("GET", "/readyz")
                return True
            except weir.Unavailable:
                return False
        eventually("the node is ready", ready)

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
