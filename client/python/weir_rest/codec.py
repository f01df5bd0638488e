"""Between the classes of the bodies and JSON."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Optional, Tuple, Type, TypeVar


class Unset:
    """The type of UNSET: a field that a request leaves as it is, where None would empty it."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()

Convert = Callable[[Any], Any]
Body = TypeVar("Body")


def body(**fields: Tuple[str, str]) -> Callable[[Type[Body]], Type[Body]]:
    """Tells the codec which fields a class has: the name in JSON and the type of each."""

    def decorate(cls: Type[Body]) -> Type[Body]:
        cls._fields = fields  # type: ignore[attr-defined]
        return cls

    return decorate


def to_json(value: Any) -> Any:
    """Turns a body, or what is in one, into what json.dumps takes."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    fields = getattr(value, "_fields", None)
    if isinstance(fields, dict):
        out = {}
        for name, (key, _) in fields.items():
            v = getattr(value, name)
            if v is UNSET or v is None and not _takes_null(type(value), name):
                continue
            out[key] = to_json(v)
        return out
    if isinstance(value, dict):
        return {k: to_json(v) for k, v in value.items()}
    return value


def from_json(kind: str, value: Any) -> Any:
    """Turns a decoded answer into a type: "Job", "list[Job]", "datetime"."""
    return _converter(kind)(value)


def _takes_null(cls: Type[Any], name: str) -> bool:
    return getattr(cls, name, None) is UNSET  # the default of a field that may be null


_converters: Dict[str, Convert] = {}


def _converter(kind: str) -> Convert:
    found = _converters.get(kind)
    if found is None:
        found = _converters[kind] = _make_converter(kind)
    return found


def _make_converter(kind: str) -> Convert:
    if kind == "datetime":
        return _time
    inner = re.fullmatch(r"list\[(.+)\]", kind)
    if inner:
        convert = _converter(inner[1])
        return lambda v: v if v is None else [convert(x) for x in v]
    inner = re.fullmatch(r"dict\[str, (.+)\]", kind)
    if inner:
        convert = _converter(inner[1])
        return lambda v: v if v is None else {k: convert(x) for k, x in v.items()}
    cls: Optional[Type[Any]] = getattr(sys.modules[__package__ + ".models"], kind, None)
    if not isinstance(getattr(cls, "_fields", None), dict):
        return lambda v: v
    plan = {key: (name, of) for name, (key, of) in cls._fields.items()}  # type: ignore[union-attr]

    def convert_body(value: Any) -> Any:
        if value is None:
            return None
        made = {}
        for key, v in value.items():
            if key in plan:  # a newer weir may answer with more fields
                name, of = plan[key]
                made[name] = _converter(of)(v)
        return cls(**made)  # type: ignore[misc]

    return convert_body


def _time(text: Optional[str]) -> Optional[datetime]:
    if text is None:
        return None
    whole, _, rest = text.partition(".")
    fraction = rest.rstrip("Z").ljust(6, "0")[:6] if rest else "0"
    return datetime.strptime(whole.rstrip("Z"), "%Y-%m-%dT%H:%M:%S").replace(microsecond=int(fraction), tzinfo=timezone.utc)
