import enum
import json
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Dict, List, Literal, Optional, Tuple, Union

import pytest

from weir.codec import dumps, from_json, to_json
from weir.error import DecodeError


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Item:
    sku: str
    price: Decimal
    colour: Colour = Colour.RED


@dataclass
class Order:
    id: uuid.UUID
    at: datetime
    day: date
    items: List[Item]
    by_name: Dict[str, Item] = field(default_factory=dict)
    note: Optional[str] = None
    took: timedelta = timedelta(0)
    raw: bytes = b""
    pair: Tuple[int, str] = (0, "")
    mode: Literal["a", "b"] = "a"
    either: Union[int, List[int]] = 0
    anything: Any = None


def test_values_survive_json():
    order = Order(uuid.uuid4(), datetime(2026, 1, 2, 3, 4, 5, 678900, timezone.utc), date(2026, 1, 2), [Item("x", Decimal("1.10"))],
                  {"a": Item("y", Decimal(2))}, "né", timedelta(seconds=1.5), b"\x00\xff", (1, "b"), "b", [1, 2], {"deep": [1.5, 2**63 + 1]})
    assert from_json(Order, json.loads(dumps(order))) == order


@pytest.mark.parametrize("text", ["2026-01-31T09:00:00Z", "2026-01-31T09:00:00.1Z", "2026-01-31T10:00:00.100000000+01:00"])
def test_times_of_the_service_are_read(text):
    assert from_json(datetime, text).astimezone(timezone.utc).hour == 9


@pytest.mark.parametrize("hint, value, says", [
    (int, "1", "value: expected int, got a str"),
    (int, True, "value: expected int, got a bool"),
    (int, None, "value: expected int, got null"),
    (List[int], [1, "x"], "value[1]: expected int"),
    (Dict[str, float], {"a": "x"}, "value.a: expected a number"),
    (Item, {"sku": "x"}, "value: "),
    (Item, {"sku": "x", "price": "1", "size": 3}, "value.size: is not known"),
    (Item, {"sku": "x", "price": "cheap"}, "value.price: expected a decimal number"),
    (Item, {"sku": "x", "price": "1", "colour": "blue"}, "value.colour: expected one of red"),
    (Literal["a"], "b", "value: expected one of a"),
    (Tuple[int, int], [1], "value: expected an array of 2"),
    (Optional[int], "x", "value: expected int"),
])
def test_what_does_not_fit_is_refused_with_its_place(hint, value, says):
    with pytest.raises(DecodeError) as e:
        from_json(hint, value)
    assert str(e.value).startswith(says)


def test_what_json_cannot_say_is_refused():
    for value in (object(), datetime(2026, 1, 1), {1, object()}):
        with pytest.raises(TypeError):
            to_json(value)
    with pytest.raises(ValueError):
        dumps(float("nan"))
