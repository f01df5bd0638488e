"""Events as an iterator: a stream of server-sent events that goes on after it breaks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, Mapping, Optional

import urllib3

from .backoff import Backoff
from .error import WeirError


@dataclass(frozen=True)
class Event:
    """Something that happened. ``data`` has what is known of it: job_id, queue, kind, attempt, worker and others."""

    id: str
    name: str
    data: Mapping[str, Any]


def follow(connect: Callable[[Mapping[str, str]], Any], after: Optional[str]) -> Iterator[Event]:
    """The events of a stream that is opened with ``connect`` and opened again, after the last event, when it breaks."""
    wait, opened = Backoff(), False
    while True:
        try:
            answer = connect({"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})})
        except WeirError as e:
            if not e.is_passing or not opened and e.status not in (0, 429, 503):
                raise
            time.sleep(wait.next(e.retry_after))
            continue
        opened = True
        try:
            for event in _read(answer):
                wait.reset()
                after = event.id or after
                yield event
        except (urllib3.exceptions.HTTPError, OSError):
            pass  # it broke; silence counts as that too: the service sends a comment every 15 s
        finally:
            answer.close()
        time.sleep(wait.next())


def _read(answer: Any) -> Iterator[Event]:
    fields: Dict[str, str] = {}
    for line in _lines(answer):
        if line == "":
            if "data" in fields:
                yield Event(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}
            continue
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        fields[name] = fields["data"] + "\n" + value if name == "data" and name in fields else value


def _lines(answer: Any) -> Iterator[str]:
    rest = b""
    for chunk in answer.stream(65536, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r").decode()
