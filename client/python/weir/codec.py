"""Between Python values and JSON, by type hints: dataclasses, enums, times, UUIDs, decimals and what holds them.

Pydantic models work too, where the application uses pydantic; this package does not need it.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import functools
import json
import types
import typing
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Callable, Dict, Mapping, Union

from .error import DecodeError

_UNIONS = (Union, getattr(types, "UnionType", Union))  # the second is of 3.10


def to_json(value: Any) -> Any:
    """A value that the json module can write."""
    if value is None or isinstance(value, (bool, int, float, str)) and not isinstance(value, enum.Enum):
        return value
    if isinstance(value, enum.Enum):
        return to_json(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(v) for v in value]
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError("a time needs a zone: datetime.now(timezone.utc), for example")
        return value.isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (uuid.UUID, Decimal)):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON: use dataclasses, or convert it")


def _key(key: Any) -> str:
    text = to_json(key)
    return text if isinstance(text, str) else json.dumps(text)


def dumps(value: Any) -> str:
    """JSON text. Numbers that JSON does not have are refused, and text that is none: a ValueError."""
    text = json.dumps(to_json(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if not text.isascii():
        text.encode()
    return text


def clean(text: str, most: int) -> str:
    """Text for people, without what PostgreSQL cannot store: a bad character must not stop a report of many jobs."""
    return text[:most].replace("\x00", "\ufffd").encode(errors="replace").decode()


def _number(value: Any, place: str) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else _wrong(value, place, "a number")


def _text(parse: Callable[[str], Any], what: str) -> Callable[[Any, str], Any]:
    def read(value: Any, place: str) -> Any:
        if not isinstance(value, str):
            _wrong(value, place, what)
        try:
            return parse(value)
        except (ValueError, ArithmeticError):
            _wrong(value, place, what)
    return read


def _time(text: str) -> datetime:
    """RFC 3339, also with a Z and any number of digits, which Python before 3.11 does not read."""
    if text[-1:] in "zZ":
        text = text[:-1] + "+00:00"
    head, dot, rest = text.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = head + "." + rest[:min(digits, 6)].ljust(6, "0") + rest[digits:]
    return datetime.fromisoformat(text)


_SIMPLE: Dict[Any, Callable[[Any, str], Any]] = {
    float: _number,
    datetime: _text(_time, "a time"), date: _text(date.fromisoformat, "a date"), time: _text(time.fromisoformat, "a time of day"),
    uuid.UUID: _text(uuid.UUID, "a UUID"), Decimal: _text(Decimal, "a decimal number"),
    bytes: _text(lambda t: base64.b64decode(t, validate=True), "base64"),
    timedelta: lambda v, place: timedelta(seconds=_number(v, place)),
}


def _wrong(value: Any, place: str, what: str) -> Any:
    named = "null" if value is None else f"a {type(value).__name__}"
    raise DecodeError(f"{place}: expected {what}, got {named}")


def from_json(hint: Any, value: Any, place: str = "value") -> Any:
    """The value as its hint says, or a DecodeError with the place of what is not."""
    if hint is Any or hint is object or isinstance(hint, typing.TypeVar):
        return value
    if hint is None or hint is type(None):
        return value if value is None else _wrong(value, place, "null")
    if hint in _SIMPLE:
        return _SIMPLE[hint](value, place)
    origin = typing.get_origin(hint)
    if origin is not None:
        return _generic(hint, origin, typing.get_args(hint), value, place)
    if isinstance(hint, type):
        return _class(hint, value, place)
    return value


def _class(hint: type, value: Any, place: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, place)
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            return _wrong(value, place, "one of " + ", ".join(str(m.value) for m in hint))
    if hasattr(hint, "model_validate"):
        return hint.model_validate(value)
    plain = {list: list, tuple: list, set: list, frozenset: list}.get(hint, hint)
    if not isinstance(value, plain) or isinstance(value, bool) and hint is int:
        return _wrong(value, place, hint.__name__)
    return hint(value) if plain is not hint else value


def _generic(hint: Any, origin: Any, of: Any, value: Any, place: str) -> Any:
    if origin in _UNIONS:
        return _union(of, value, place)
    if origin is typing.Literal:
        return value if value in of else _wrong(value, place, "one of " + ", ".join(map(str, of)))
    if origin is getattr(typing, "Annotated", None) or hasattr(hint, "__metadata__"):
        return from_json(of[0], value, place)
    if issubclass(origin, Mapping):
        if not isinstance(value, dict):
            return _wrong(value, place, "an object")
        key = (lambda k: k) if of[0] in (str, Any) else (lambda k: _map_key(of[0], k, place))
        return {key(k): from_json(of[1], v, f"{place}.{k}") for k, v in value.items()}
    if not isinstance(value, list):
        return _wrong(value, place, "an array")
    if origin is tuple and not (len(of) == 2 and of[1] is Ellipsis):
        if len(value) != len(of):
            return _wrong(value, place, f"an array of {len(of)}")
        return tuple(from_json(h, v, f"{place}[{i}]") for i, (h, v) in enumerate(zip(of, value)))
    items = [from_json(of[0], v, f"{place}[{i}]") for i, v in enumerate(value)]
    return items if origin not in (tuple, set, frozenset) else origin(items)


def _map_key(hint: Any, key: str, place: str) -> Any:
    return from_json(hint, key if hint in _SIMPLE and hint is not float else json.loads(key), place)


def _union(of: Any, value: Any, place: str) -> Any:
    if value is None and type(None) in of:
        return None
    choices = [h for h in of if h is not type(None)]
    for hint in choices[:-1]:
        try:
            return from_json(hint, value, place)
        except DecodeError:
            pass
    return from_json(choices[-1], value, place)


@functools.lru_cache(maxsize=None)
def hints_of(thing: Any) -> Dict[str, Any]:
    return typing.get_type_hints(thing)


def _dataclass(hint: type, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        return _wrong(value, place, f"an object ({hint.__name__})")
    hints, fields = hints_of(hint), {f.name for f in dataclasses.fields(hint) if f.init}
    refuse_unknown(value, fields, place)
    members = {k: from_json(hints[k], v, f"{place}.{k}") for k, v in value.items()}
    try:
        return hint(**members)
    except (TypeError, ValueError) as e:
        raise DecodeError(f"{place}: {e}") from e


def refuse_unknown(value: Mapping[str, Any], known: Any, place: str) -> None:
    for name in value:
        if name not in known:
            raise DecodeError(f"{place}.{name}: is not known")
