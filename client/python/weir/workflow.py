"""Workflows: jobs that wait for each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Generic, List, Mapping, Optional, Sequence, TypeVar, Union

from .codec import to_json
from .error import Seconds, seconds
from .kind import NewJob

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Step(Generic[R_co]):
    """A step of a workflow. Its name is how steps that depend on it find its result."""

    name: str
    result: Any = Any


class Workflow:
    """Steps and what each waits for. The ``on_failure`` of the whole is fail_fast, continue or compensate.

        order = Workflow("order")
        reserved = order.step("reserve", reserve_stock.new(42))
        order.step("charge", charge_card.new(42), after=[reserved])
        client.submit(order)
    """

    def __init__(self, name: str, *, on_failure: Optional[str] = None, deadline: Optional[Seconds] = None, metadata: Optional[Mapping[str, Any]] = None) -> None:
        settings = {"on_failure": on_failure, "deadline_seconds": None if deadline is None else seconds(deadline), "metadata": to_json(metadata)}
        self._head = {"name": name, **{k: v for k, v in settings.items() if v is not None}}
        self._steps: Dict[str, Dict[str, Any]] = {}

    def step(self, name: str, job: "NewJob[R_co]", *, after: Sequence["Union[Step[Any], str]"] = (), needs: Optional[str] = None,
             on_failure: Optional[str] = None, undo: "Union[None, Step[Any], str]" = None) -> "Step[R_co]":
        """A step that runs a job when what it comes after has completed; ``needs`` may be ended or any instead. A step
        reads their results with ``job.dependency``. ``undo`` names the step that compensates this one."""
        return self._add(name, job.fields(), after, job.result, needs=needs, on_failure=on_failure, compensation=_name(undo))

    def sleep(self, name: str, length: Seconds, *, after: "Sequence[Union[Step[Any], str]]" = ()) -> "Step[None]":
        """A step that takes this long, and no worker."""
        return self._add(name, {"wait_for": {"seconds": seconds(length)}}, after, Any)

    def wait_for_signal(self, name: str, signal: str, *, after: "Sequence[Union[Step[Any], str]]" = (), timeout: Optional[Seconds] = None,
                        on_timeout: Optional[str] = None) -> "Step[Any]":
        """A step that completes with the payload of a signal: see ``Client.signal``."""
        rest = {"timeout_seconds": None if timeout is None else seconds(timeout), "on_timeout": on_timeout}
        return self._add(name, {"wait_for": {"signal": signal, **{k: v for k, v in rest.items() if v is not None}}}, after, Any)

    def child(self, name: str, workflow: "Workflow", *, after: "Sequence[Union[Step[Any], str]]" = ()) -> "Step[Any]":
        """A step that is a workflow of its own."""
        return self._add(name, {"workflow": workflow.definition()}, after, Any)

    def definition(self) -> Dict[str, Any]:
        """The workflow as the contract has it."""
        return {**self._head, "steps": list(self._steps.values())}

    def _add(self, name: str, what: Mapping[str, Any], after: "Sequence[Union[Step[Any], str]]", result: Any, **more: Any) -> "Step[Any]":
        if name in self._steps:
            raise ValueError(f"two steps have the name {name}")
        names: List[Optional[str]] = [_name(s) for s in after]
        given = {k: v for k, v in more.items() if v is not None}
        self._steps[name] = {"name": name, **what, **({"depends_on": names} if names else {}), **given}
        return Step(name, result)


def _name(step: "Union[None, Step[Any], str]") -> Optional[str]:
    return step.name if isinstance(step, Step) else step
