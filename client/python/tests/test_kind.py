from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest

import weir


@dataclass
class Receipt:
    order: int
    copy: bool = False


@weir.job(queue="mail", max_attempts=3, timeout=timedelta(minutes=2))
def send(order: int, *, copy: bool = False) -> str:
    return f"{order} {copy}"


@weir.job("print_receipt")
def print_it(job: weir.Job[Receipt]) -> None: ...


@weir.job
def bare(job: weir.Job, order: int) -> None: ...


def test_decorator_needs_no_parentheses():
    assert bare.name == "bare" and bare.new(1).fields() == {"kind": "bare", "args": {"order": 1}}


def test_arguments_become_args_by_name():
    assert send.new(42, copy=True).fields() == {
        "kind": "send", "args": {"order": 42, "copy": True}, "queue": "mail", "max_attempts": 3, "timeout_seconds": 120}
    assert send.new(order=1).args == {"order": 1}


def test_dataclass_is_all_args_together():
    assert print_it.new(Receipt(7)).fields() == {"kind": "print_receipt", "args": {"order": 7, "copy": False}}


def test_arguments_are_checked_when_the_job_is_made():
    with pytest.raises(TypeError):
        send.new()
    with pytest.raises(TypeError):
        send.new(1, copies=2)


def test_options_of_one_job():
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    job = send.new(1).but(delay=timedelta(hours=1), unique="order-1", tags=["vip"], parent_id=2**60)
    assert {k: v for k, v in job.fields().items() if k not in ("kind", "args")} == {
        "queue": "mail", "max_attempts": 3, "timeout_seconds": 120, "delay_seconds": 3600.0, "unique": {"key": "order-1"},
        "tags": ["vip"], "parent_id": str(2**60)}
    assert job.but(run_at=at).fields()["run_at"] == at.isoformat() and "delay_seconds" not in job.but(run_at=at).fields()


def test_slips_are_refused_at_once():
    with pytest.raises(TypeError, match="no option prioritty"):
        weir.job(prioritty=3)(lambda: None)
    with pytest.raises(TypeError, match="no option colour"):
        send.new(1).but(colour="red").fields()
    with pytest.raises(ValueError):
        weir.Worker(weir.HTTP(), [send, weir.job("send")(lambda: None)])


def test_kind_is_a_function_still():
    assert send(1) == "1 False" and send.name == "send"
