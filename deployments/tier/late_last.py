"""Order vLLM's waiting calls: those that can keep their TTFT SLO before late ones.

vLLM's own queue is first come, first served within a lane. Under more load than there is capacity
for, that makes everybody late, and everybody who comes while the queue is worked off. Here a call
that has waited for most of its SLO (`core.settings.scaling.Slo.late_after_s`) goes behind those
that have not: what is late already waits longer, and the others are in time. docs/autoscaling.md
tells what that is worth; the replay serves in the same order.

Promises: lanes stay apart, the lower priority first; only interactive calls are late; among late
ones, and among those in time, who came first goes first. One that waited for `OVERDUE_S` goes
before all of its lane. What is asked for next is what is taken next, whatever time has passed.
Not covered: a call that has begun and was preempted; it is in time, and came before most.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from time import time
from typing import Any, Protocol

from core.settings.scaling import OVERDUE_S, Slo

SCHEDULER = "deployments.tier.late_last.scheduler"
KEY = "hansom_late_last"
_INTERACTIVE = 0


class WaitingRequest(Protocol):
    """What of vLLM's `Request` decides; `arrival_time` is on the clock of `time.time`."""

    priority: int
    arrival_time: float
    num_prompt_tokens: int
    num_preemptions: int


Entry = tuple[int, float, int, Any]
"""Priority, arrival, a number that tells equals apart, the request."""


class LateLast:
    """A waiting queue as vLLM's scheduler uses one (`vllm.v1.core.sched.request_queue`).

    `late_after_s` tells of how many prompt tokens a call is late after which wait.
    """

    def __init__(
        self, late_after_s: Callable[[int], float], clock: Callable[[], float] = time
    ) -> None:
        self._late_after_s = late_after_s
        self._clock = clock
        self._timely: list[Entry] = []
        self._late: list[Entry] = []
        self._number = 0
        self._next: Entry | None = None

    def add_request(self, request: WaitingRequest) -> None:
        """Queue a request, also one that was queued before."""
        self._number += 1
        entry = (request.priority, request.arrival_time, self._number, request)
        heappush(self._timely, entry)

    prepend_request = add_request

    def prepend_requests(self, requests: Iterable[WaitingRequest]) -> None:
        """They were skipped, or come back: their place is by their arrival."""
        for request in requests:
            self.add_request(request)

    def peek_request(self) -> Any:
        """Return the next request; raises `IndexError` when none waits."""
        now_s = self._clock()
        self._part(now_s)
        self._next = self._first(now_s)
        return self._next[-1]

    def pop_request(self) -> Any:
        """Remove and return the request that `peek_request` returned, or the next one.

        Raises `IndexError` when none waits.
        """
        if self._next is None:
            self.peek_request()
        found, self._next = self._next, None
        assert found is not None
        heap = self._late if found in self._late else self._timely
        if heap[0] is found:
            heappop(heap)
        else:  # another request came in between
            heap.remove(found)
            heapify(heap)
        return found[-1]

    def remove_request(self, request: WaitingRequest) -> None:
        """It waits no more."""
        self.remove_requests([request])

    def remove_requests(self, requests: Iterable[WaitingRequest]) -> None:
        """None of them waits any more."""
        gone = {id(request) for request in requests}
        for heap in (self._timely, self._late):
            heap[:] = [entry for entry in heap if id(entry[-1]) not in gone]
            heapify(heap)
        self._next = None

    def __bool__(self) -> bool:
        return bool(self._timely or self._late)

    def __len__(self) -> int:
        return len(self._timely) + len(self._late)

    def __iter__(self) -> Iterator[Any]:
        """Those in time by lane and arrival, then the late ones."""
        return (entry[-1] for heap in (self._timely, self._late) for entry in sorted(heap))

    def _part(self, now_s: float) -> None:
        """Move the first of those in time behind, as long as it is late."""
        while self._timely and self._is_late(self._timely[0], now_s):
            heappush(self._late, heappop(self._timely))

    def _is_late(self, entry: Entry, now_s: float) -> bool:
        priority, came_s, _, request = entry
        if priority > _INTERACTIVE or request.num_preemptions:
            return False
        return now_s - came_s > self._late_after_s(request.num_prompt_tokens)

    def _first(self, now_s: float) -> Entry:
        if not self._late:
            return self._timely[0]
        late = self._late[0]
        if not self._timely or self._timely[0][0] > late[0]:
            return late
        overdue = now_s - late[1] > OVERDUE_S and self._timely[0][0] == late[0]
        return late if overdue else self._timely[0]


def told(slo: Slo, prefill_tokens_per_s: float) -> dict[str, Any]:
    """What an engine's own process must know; JSON-able, for vLLM's `additional_config`."""
    return {KEY: {"slo": slo.model_dump(), "prefill_tokens_per_s": prefill_tokens_per_s}}


def scheduler(vllm_config: Any, **given: Any) -> Any:
    """The scheduler that vLLM would make itself, with this queue; its `scheduler_cls`.

    vLLM has no hook for the order alone, so the queue is put in its place (private;
    `tests/live/test_real_small.py` fails when it moves). Under another policy than
    `priority` the queue stays vLLM's.
    """
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler

    config = vllm_config.scheduler_config
    made = (AsyncScheduler if config.async_scheduling else Scheduler)(
        vllm_config=vllm_config, **given
    )
    if config.policy == "priority":
        rules = vllm_config.additional_config[KEY]
        slo, per_s = Slo.model_validate(rules["slo"]), float(rules["prefill_tokens_per_s"])
        made.waiting = LateLast(lambda tokens: slo.late_after_s(tokens, per_s))
    return made
