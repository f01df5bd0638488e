"""Kinds of jobs: a function with type hints, and what it takes to enqueue one."""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, Generic, List, Mapping, Optional, TypeVar, Union, overload

from .codec import from_json, hints_of, refuse_unknown, to_json
from .error import DecodeError, Seconds, seconds
from .job import Job

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec, TypedDict, Unpack

    P = ParamSpec("P")

    class JobOptions(TypedDict, total=False):
        """The options of a job: docs/concepts.md says what each means. What is left out is as its queue says."""

        queue: str
        priority: int
        run_at: datetime
        delay: Seconds
        max_attempts: int
        timeout: Seconds
        retry: Mapping[str, Any]
        unique: Union[str, Mapping[str, Any]]
        tenant: str
        concurrency_key: str
        tags: List[str]
        metadata: Mapping[str, Any]
        parent_id: int
        breaker: str
        result_ttl: Seconds
else:
    P = TypeVar("P")

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")

# Options whose name or form differs from the field of the contract; the others are passed on.
_FORMS: Dict[str, Any] = {
    "delay": ("delay_seconds", seconds),
    "timeout": ("timeout_seconds", lambda length: max(1, round(seconds(length)))),
    "result_ttl": ("result_ttl_seconds", lambda length: max(1, round(seconds(length)))),
    "unique": ("unique", lambda key: {"key": key} if isinstance(key, str) else to_json(key)),
    "parent_id": ("parent_id", str),
}
_PLAIN = {"queue", "priority", "run_at", "max_attempts", "retry", "tenant", "concurrency_key", "tags", "metadata", "breaker"}


def fields_of(options: Mapping[str, Any]) -> Dict[str, Any]:
    """Options as the fields of a job."""
    fields = {}
    for name, value in options.items():
        if name not in _FORMS and name not in _PLAIN:
            raise TypeError(f"a job has no option {name}: it is one of {', '.join(sorted(_PLAIN | set(_FORMS)))}")
        renamed, form = _FORMS.get(name, (name, to_json))
        if value is not None:
            fields[renamed] = form(value)
    return fields


@dataclass(frozen=True)
class NewJob(Generic[R_co]):
    """A job that is ready to be enqueued."""

    kind: str
    args: Any = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    result: Any = Any  # the hint of its result

    def but(self, **options: "Unpack[JobOptions]") -> "NewJob[R_co]":
        """The same job with other options."""
        merged = {**self.options, **options}
        if "run_at" in options:
            merged.pop("delay", None)
        if "delay" in options:
            merged.pop("run_at", None)
        return replace(self, options=merged)

    def fields(self) -> Dict[str, Any]:
        """The job as the contract has it."""
        return {"kind": self.kind, "args": to_json(self.args), **fields_of(self.options)}


class Kind(Generic[P, R_co]):
    """A function that does jobs of a kind. Call it, and it runs here and now; ``new`` makes a job of its arguments.

    Its parameters are the members of the job's args. A first parameter of type Job gets the job itself; where it is
    Job[T] and the only one, all args together are a T.
    """

    def __init__(self, function: Callable[..., Any], name: str, options: Mapping[str, Any], concurrency: Optional[int]) -> None:
        fields_of(options)  # an option that does not exist is refused here, and not when the first job is made
        if concurrency is not None and concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self.function, self.name, self.options, self.concurrency = function, name, dict(options), concurrency
        self.is_async = inspect.iscoroutinefunction(function)
        self.__doc__, self.__name__ = function.__doc__, getattr(function, "__name__", name)
        self._signature = inspect.signature(function)
        self._hints: Optional[Dict[str, Any]] = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<weir.Kind {self.name}>"

    def new(self, *args: P.args, **kwargs: P.kwargs) -> NewJob[R_co]:
        """A job with these arguments. They are checked now."""
        if self._whole is not None:
            (value,) = args
            return NewJob(self.name, to_json(value), self.options, self._result)
        bound = self._signature.bind(*([None] if self._takes_job else []), *args, **kwargs)
        members = {n: v for i, (n, v) in enumerate(bound.arguments.items()) if i or not self._takes_job}
        return NewJob(self.name, to_json(members), self.options, self._result)

    def run(self, job: Job[Any], raw_args: Any) -> Any:
        """Calls the function for a claimed job. Of an async one it returns what is to be awaited."""
        if self._whole is not None:
            job.args = from_json(self._whole, raw_args, "args")
            return self.function(job)
        job.args = raw_args
        if not isinstance(raw_args, dict):
            raise DecodeError(f"args: expected an object, got a {type(raw_args).__name__}")
        parameters = list(self._signature.parameters.values())[1 if self._takes_job else 0:]
        refuse_unknown(raw_args, {p.name for p in parameters}, "args")
        for p in parameters:
            if p.default is p.empty and p.name not in raw_args:
                raise DecodeError(f"args.{p.name}: is missing")
        named = {k: from_json(self._types.get(k, Any), v, f"args.{k}") for k, v in raw_args.items()}
        return self.function(job, **named) if self._takes_job else self.function(**named)

    # Hints are read when they are first needed: they may name classes that are defined after the function.

    @property
    def _types(self) -> Dict[str, Any]:
        if self._hints is None:
            self._hints = hints_of(self.function)
        return self._hints

    @property
    def _result(self) -> Any:
        return self._types.get("return", Any)

    @property
    def _first(self) -> Any:
        for name in self._signature.parameters:
            return self._types.get(name)
        return None

    @property
    def _takes_job(self) -> bool:
        return self._first is Job or typing.get_origin(self._first) is Job

    @property
    def _whole(self) -> Any:
        """The type of all args together, or None where each parameter is a member."""
        if len(self._signature.parameters) == 1 and typing.get_origin(self._first) is Job:
            return typing.get_args(self._first)[0]
        return None


class _Decorator:
    """What ``job`` returns. It is a class because only so the types of the function survive."""

    def __init__(self, name: Optional[str], options: Mapping[str, Any], concurrency: Optional[int], made: Callable[[Kind[Any, Any]], Any]) -> None:
        self._name, self._options, self._concurrency, self._made = name, options, concurrency, made

    @overload
    def __call__(self, function: "Callable[[Job[A]], Awaitable[R]]") -> "Kind[[A], R]": ...
    @overload
    def __call__(self, function: "Callable[[Job[A]], R]") -> "Kind[[A], R]": ...
    @overload
    def __call__(self, function: "Callable[Concatenate[Job[Any], P], Awaitable[R]]") -> "Kind[P, R]": ...
    @overload
    def __call__(self, function: "Callable[Concatenate[Job[Any], P], R]") -> "Kind[P, R]": ...
    @overload
    def __call__(self, function: "Callable[P, Awaitable[R]]") -> "Kind[P, R]": ...
    @overload
    def __call__(self, function: "Callable[P, R]") -> "Kind[P, R]": ...

    def __call__(self, function: Any) -> Any:
        kind: Kind[Any, Any] = Kind(function, self._name or function.__name__, self._options, self._concurrency)
        self._made(kind)
        return kind


@overload
def job(kind: "Callable[[Job[A]], Awaitable[R]]") -> "Kind[[A], R]": ...
@overload
def job(kind: "Callable[[Job[A]], R]") -> "Kind[[A], R]": ...
@overload
def job(kind: "Callable[Concatenate[Job[Any], P], Awaitable[R]]") -> "Kind[P, R]": ...
@overload
def job(kind: "Callable[Concatenate[Job[Any], P], R]") -> "Kind[P, R]": ...
@overload
def job(kind: "Callable[P, Awaitable[R]]") -> "Kind[P, R]": ...
@overload
def job(kind: "Callable[P, R]") -> "Kind[P, R]": ...
@overload
def job(kind: Optional[str] = None, *, concurrency: Optional[int] = None, **options: "Unpack[JobOptions]") -> _Decorator: ...


def job(kind: Any = None, *, concurrency: Optional[int] = None, **options: Any) -> Any:
    """Makes a function a kind of job: ``@weir.job``, or ``@weir.job(queue="mail")``. The kind is named as the function
    is, unless it is said.

    ``concurrency`` bounds how many of them run at once in one worker. The other options are those that new jobs have.
    """
    return decorate(kind, concurrency, options, lambda made: None)


def decorate(kind: Any, concurrency: Optional[int], options: Mapping[str, Any], made: Callable[[Kind[Any, Any]], Any]) -> Any:
    """What a decorator with these arguments is: with a function as its only one, the function's kind itself."""
    if callable(kind):
        return _Decorator(None, {}, None, made)(kind)
    return _Decorator(kind, options, concurrency, made)
