"""The two lanes, interactive and batch: places at the gateway and priority in the engine.

A batch call takes what interactive ones leave. In an engine it waits behind every interactive call
that waits, by vLLM's priority scheduling (`deployments.tier.vllm_engine`); one that runs goes on.
That queue is not all: places are few, too, at a gateway and at a replica, and those that batch
calls take are not there for others. So batch calls have `BATCH_SHARE` of each at most.

Promises: batch calls that wait for a place come out in the order in which they came in.
Not covered: gateways that are not busy leave their part to nobody; a replica that is full all the
same turns batch calls away, and those try again.
"""

import asyncio
from collections.abc import Callable, Mapping

from core.call import Lane
from deployments.names import LANE_HEADER

BATCH_SHARE = 0.5
_PRIORITY = 1
"""vLLM's, where a lower one is first; interactive calls have its default, 0."""
_LOOK_S = 0.02


def marks(lane: Lane) -> dict[str, str]:
    """The headers by which an engine's meter knows the lane; none for interactive calls."""
    return {LANE_HEADER: lane.value} if lane is Lane.BATCH else {}


def queued(body: Mapping[str, object], lane: Lane) -> dict[str, object]:
    """`body` with the priority of its lane; one that the client set would pass all others."""
    kept = {name: value for name, value in body.items() if name != "priority"}
    return kept | {"priority": _PRIORITY} if lane is Lane.BATCH else kept


def batch_room(replicas: int, places: int, gateways: int) -> int:
    """How many batch calls a tier's replicas, of so many places, take of each of the gateways."""
    return max(1, int(max(1, replicas) * places * BATCH_SHARE / gateways))


class BatchPlaces:
    """Batch calls that one gateway has `open` on one tier; more than `most()` wait for a place."""

    def __init__(self, most: Callable[[], int]) -> None:
        self.open = 0
        self._most = most
        self._turn = asyncio.Lock()  # serves in order

    async def wait(self, timeout_s: float) -> None:
        """Until there is a place; raises `TimeoutError` after `timeout_s`."""
        async with asyncio.timeout(timeout_s), self._turn:
            while self.open >= self._most():  # noqa: ASYNC110 - replicas come and go untold
                await asyncio.sleep(_LOOK_S)
