"""What the request path says to its trace; while tracing is off, to one shared object that does
nothing.

Promises: a step costs a context variable's look-up while nothing is recorded, and nothing here
imports OpenTelemetry. The trace of a request is found through a context variable, which tasks that
it starts inherit; an attempt takes its span along, so that a stream which ends in another context
still ends its own span. No prompt and no answer is ever given to a trace.
Not covered: what spans hold (`deployments.gateway.tracing.request_spans`), sending them
(`deployments.gateway.tracing.export`).
"""

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, Self, TypeVar

from core.call import Call, Decision
from core.ledger_line import Kind, LedgerLine
from core.settings.load import Tier

Value = str | bool | int | float | list[str]
Attributes = Mapping[str, Value]
Given = ParamSpec("Given")
Result = TypeVar("Result")

NO_HEADERS: Mapping[str, str] = {}


class Step:
    """One part of a request's life; this one is not recorded."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def note(self, attributes: Attributes) -> None:
        """What is known of it now."""


class AttemptSpan:
    """One attempt's `generate` and `settle`; this one is not recorded."""

    def headers(self, _replica: str) -> Mapping[str, str]:
        """What the engine is sent, so that its own spans join; notes which replica it is."""
        return NO_HEADERS

    def first_byte(self) -> None:
        """The first event of a stream has arrived."""

    def settling(self) -> None:
        """The attempt has ended, and is being written down."""

    def settled(self, line: LedgerLine, *, served: bool) -> None:
        """It is written down; `served` when its answer was to be the client's."""


NO_STEP = Step()
NO_ATTEMPT = AttemptSpan()


class RequestTrace:
    """One request's trace; this one is not recorded."""

    def step(self, _name: str) -> Step:
        """A part of the request that is about to begin; leaving it ends it."""
        return NO_STEP

    def admitted(self, call: Call) -> None:
        """The request is let in, which ends `admit`."""

    def attempt(
        self, _call: Call, _decision: Decision, _tier: Tier, _kind: Kind, _number: int
    ) -> AttemptSpan:
        """An attempt begins."""
        return NO_ATTEMPT


OFF = RequestTrace()
_current: ContextVar[RequestTrace] = ContextVar("hansom_trace", default=OFF)


def current() -> RequestTrace:
    """The trace of the request that this code works for; `OFF` when there is none."""
    return _current.get()


@contextmanager
def active(trace: RequestTrace) -> Iterator[None]:
    """Make `trace` the current one for what runs inside, and for the tasks started there."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def step(
    name: str, told: Callable[[Result], Attributes]
) -> Callable[[Callable[Given, Awaitable[Result]]], Callable[Given, Awaitable[Result]]]:
    """Record a whole coroutine function as a step; `told` says what its result tells."""

    def decorate(work: Callable[Given, Awaitable[Result]]) -> Callable[Given, Awaitable[Result]]:
        async def recorded(
            trace: RequestTrace, /, *given: Given.args, **named: Given.kwargs
        ) -> Result:
            with trace.step(name) as own:
                result = await work(*given, **named)
                own.note(told(result))
                return result

        @functools.wraps(work)
        def either(*given: Given.args, **named: Given.kwargs) -> Awaitable[Result]:
            trace = _current.get()
            if trace is OFF:
                return work(*given, **named)
            return recorded(trace, *given, **named)

        return either

    return decorate
