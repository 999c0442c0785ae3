"""Call Redis within a deadline, and skip it for a while after several failures.

Promises: every failure is `Away`; after some in a row the next ones fail at once, apart from one
try every `open_s`, so that an outage costs a few timeouts and not one per request.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

from core.deadline import within
from core.ports import Clock

Result = TypeVar("Result")
_FAILURES_TO_OPEN = 3
_OPEN_S = 2.0


class Away(Exception):
    """Redis did not answer, or was not asked."""


class Breaker:
    """One per Redis and gateway."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._failures = 0
        self._again_s = 0.0

    async def ask(self, question: Callable[[], Awaitable[Result]]) -> Result:
        """The answer; raises `Away`, and what else the question raises."""
        now_s = self._clock.monotonic_s()
        if self._failures >= _FAILURES_TO_OPEN:
            if now_s < self._again_s:
                raise Away("left alone for a while")
            self._again_s = now_s + _OPEN_S
        try:
            answer = await within(question(), self._timeout_s)
        except (TimeoutError, RedisError, OSError) as error:
            self._failures += 1
            self._again_s = now_s + _OPEN_S
            raise Away(repr(error)[:200]) from error
        self._failures = 0
        return answer
