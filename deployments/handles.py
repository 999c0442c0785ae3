"""Choosing a replica of a tier, and speaking HTTP to it.

Tokens do not cross a deployment handle: with direct ingress every replica has its own HTTP
port under Serve's admission, draining and health checks, and a plain HTTP stream costs a fifth
of a handle's stream per token (docs/benchmarks.md). Ray has no public call for a replica's
address, so the one private path to it stands in `_running` and nowhere else;
`tests/deployments/test_serve_graph.py` fails when a Ray upgrade moves it.

The choice is least requests in flight from this gateway, which needs no message to anyone.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from core.errors import Unavailable

ENGINE_DEPLOYMENT = "Engine"
_CONNECT_TIMEOUT_S = 2.0


def tier_app(tier: str) -> str:
    """The Serve application that holds one tier."""
    return f"tier-{tier}"


@dataclass(frozen=True, slots=True)
class Replica:
    """A running replica: its id and the base URL of its own HTTP server."""

    id: str
    url: str


class TierReplicas:
    """The running replicas of one tier, seen from one gateway."""

    def __init__(self, tier: str, http: aiohttp.ClientSession, stall_timeout_s: float) -> None:
        self.tier = tier
        self._http = http
        self._stall_timeout_s = stall_timeout_s
        self._handle: DeploymentHandle | None = None
        self._node_id = ray.get_runtime_context().get_node_id()
        self._in_flight: dict[str, int] = {}

    @property
    def handle(self) -> DeploymentHandle:
        """The ordinary Serve handle, for control calls and to wake a tier from zero."""
        if self._handle is None:
            self._handle = serve.get_deployment_handle(ENGINE_DEPLOYMENT, tier_app(self.tier))
        return self._handle

    @property
    def in_flight(self) -> int:
        """Requests this gateway has open on the tier."""
        return sum(self._in_flight.values())

    def running(self) -> list[Replica]:
        """Replicas that can be reached now."""
        return _running(self.handle, self._node_id)

    @asynccontextmanager
    async def post(
        self,
        path: str,
        body: bytes,
        headers: dict[str, str],
        timeout_s: float,
        skip: frozenset[str] = frozenset(),
    ) -> AsyncIterator[tuple[Replica, aiohttp.ClientResponse]]:
        """Open `POST path` on the least busy replica not in `skip`.

        Leaving the block before the answer is complete closes the connection, which aborts
        the request in the engine. Raises `Unavailable` when no replica is left, aiohttp's
        `ClientError` when the replica cannot be reached or is silent for `stall_timeout_s`, and
        `TimeoutError` when `timeout_s` has passed, then or later while reading.
        """
        candidates = [replica for replica in self.running() if replica.id not in skip]
        if not candidates:
            raise Unavailable(f"No replica of tier {self.tier!r} is running.", retry_after_s=5)
        chosen = min(candidates, key=lambda replica: self._in_flight.get(replica.id, 0))
        self._in_flight[chosen.id] = self._in_flight.get(chosen.id, 0) + 1
        timeout = aiohttp.ClientTimeout(
            total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S, sock_read=self._stall_timeout_s
        )
        try:
            async with self._http.post(
                chosen.url + path, data=body, headers=headers, timeout=timeout
            ) as response:
                yield chosen, response
        finally:
            left = self._in_flight[chosen.id] - 1
            if left:
                self._in_flight[chosen.id] = left
            else:
                del self._in_flight[chosen.id]


def _running(handle: DeploymentHandle, own_node_id: str) -> list[Replica]:
    """Ray's own list of the deployment's running replicas (private; see the module docstring).

    A replica on this node is reached on the loopback address: on one machine Serve may listen on
    nothing else, and across nodes it listens everywhere.
    """
    if not handle.is_initialized:
        handle._init()
    router = handle._router._asyncio_router.request_router
    if router is None:
        return []
    found = []
    for replica in router.curr_replicas.values():
        if (endpoint := replica.backend_http_endpoint) is None:
            continue
        address, port = endpoint
        host = "127.0.0.1" if replica.node_id == own_node_id else address
        found.append(Replica(replica.replica_id.unique_id, f"http://{host}:{port}"))
    return found
