"""How soon an engine knows that a client has left.

The client leaves by closing its connection to the front door; the engine's replica is asked over
an ordinary Serve handle, again and again, how many requests it runs. So a time includes up to one
question, whose length is told beside it. Import only after `bench.peers.ours` has begun.
"""

import time
from collections.abc import Awaitable, Callable

import ray
from ray import serve

from bench.claims import Claim, hang_up_claims
from bench.load import Job, LoadConnection, Requests, percentile
from deployments.names import ENGINE_DEPLOYMENT, tier_app

_TIMEOUT_S = 5.0
_SEEN_EVENTS = 3
_GIVE_UP = 2  # requests that were never aborted: the rest would not be either


def hang_ups(job: Job, tier: str, when: str, tries: int) -> list[Claim]:
    """Leave `tries` requests to `tier`; a stream that is flowing is left after some events."""
    # A handle needs an event loop that lives as long as Serve: an actor has one.
    client = ray.remote(num_cpus=0)(RawClient).remote(job, tier)
    claims: list[Claim] = ray.get(client.leave.remote(when, tries))
    ray.kill(client)
    return claims


class RawClient:
    """Somebody who asks and leaves."""

    def __init__(self, job: Job, tier: str) -> None:
        self._job = job
        self._requests = Requests(job)
        self._handle = serve.get_deployment_handle(ENGINE_DEPLOYMENT, tier_app(tier))
        self._questions_ms: list[float] = []

    async def leave(self, when: str, tries: int) -> list[Claim]:
        """Ask and leave, `tries` times."""
        aborts_ms: list[float] = []
        unseen = 0
        while len(aborts_ms) < tries and unseen < _GIVE_UP:
            connection = self._ask(when)
            if await _wait(self._running, 1) is None:
                raise RuntimeError(f"the request never reached the engine ({when})")
            connection.socket.close()
            waited_s = await _wait(self._running, 0)
            if waited_s is None:
                unseen += 1
            else:
                aborts_ms.append(waited_s * 1e3)
        asked_ms = percentile(self._questions_ms, 0.5)
        asked = Claim(f"  one question to the engine, {when}", asked_ms, "ms")
        return [*hang_up_claims(when, aborts_ms, unseen), asked]

    def _ask(self, when: str) -> LoadConnection:
        connection = LoadConnection(self._job)
        connection.send(self._requests.next())
        while when == "mid-stream" and connection.answer.events < _SEEN_EVENTS:
            if connection.read():
                raise RuntimeError("the stream ended before anybody could leave it")
        return connection

    async def _running(self) -> int:
        """Requests that the engine runs now."""
        start_s = time.perf_counter()
        told = await self._handle.record_autoscaling_stats.remote()
        self._questions_ms.append((time.perf_counter() - start_s) * 1e3)
        return int(told["running"])


async def _wait(running: Callable[[], Awaitable[int]], count: int) -> float | None:
    """Seconds until as many requests run, None when that takes too long."""
    start_s = time.perf_counter()
    while time.perf_counter() - start_s < _TIMEOUT_S:
        if await running() == count:
            return time.perf_counter() - start_s
    return None
