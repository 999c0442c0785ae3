"""Choosing a replica of a tier, and speaking HTTP to it.

Tokens do not cross a deployment handle: with direct ingress every replica has its own HTTP
port under Serve's admission, draining and health checks, and a plain HTTP stream costs a fifth
of a handle's stream per token (docs/benchmarks.md). Ray has no public call for a replica's
address, so the one private path to it stands in `_running` and nowhere else;
`tests/deployments/test_serve_graph.py` fails when a Ray upgrade moves it.

The choice is least requests in flight from this gateway, which needs no message to anyone.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache

import aiohttp
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle
from yarl import URL

from core.errors import Unavailable

ENGINE_DEPLOYMENT = "Engine"
_CONNECT_TIMEOUT_S = 2.0


def tier_app(tier: str) -> str:
    """The Serve application that holds one tier."""
    return f"tier-{tier}"


def handle_of(deployment: str, app: str) -> DeploymentHandle:
    """The handle of a deployment that may not be there yet: parts start in any order."""
    return serve.get_deployment_handle(deployment, app, _check_exists=False)


@dataclass(frozen=True, slots=True)
class Replica:
    """A running replica: its id and the base URL of its own HTTP server."""

    id: str
    url: str


@lru_cache(maxsize=4096)
def _url(base: str, path: str) -> URL:
    """Parsed once: parsing costs more than the rest of choosing a replica."""
    return URL(base + path, encoded=True)


Running = Callable[[], list[Replica]]


class ServeReplicas:
    """The `Running` of a tier in a Serve cluster; asks nobody, Serve tells every handle."""

    def __init__(self, tier: str) -> None:
        self._handle = handle_of(ENGINE_DEPLOYMENT, tier_app(tier))
        self._node_id = ray.get_runtime_context().get_node_id()

    def __call__(self) -> list[Replica]:
        """Replicas that Serve calls running now; the first call begins to listen."""
        return _running(self._handle, self._node_id)


class TierReplicas:
    """The replicas of one tier, seen from one gateway; `running` lists those there are now."""

    def __init__(
        self, tier: str, running: Running, http: aiohttp.ClientSession, stall_timeout_s: float
    ) -> None:
        self.tier = tier
        self.running = running
        self._http = http
        self._stall_timeout_s = stall_timeout_s
        self._in_flight: dict[str, int] = {}

    @property
    def in_flight(self) -> int:
        """Requests this gateway has open on the tier."""
        return sum(self._in_flight.values())

    def left(self, skip: frozenset[str]) -> list[Replica]:
        """Running replicas that are not in `skip`."""
        return [replica for replica in self.running() if replica.id not in skip]

    def choose(self, skip: frozenset[str] = frozenset()) -> Replica:
        """The least busy replica not in `skip`; raises `Unavailable` when none is left."""
        if not (candidates := self.left(skip)):
            raise Unavailable(
                f"No replica of tier {self.tier!r} is running.",
                code="no_replica",
                retry_after_s=5,
            )
        return min(candidates, key=lambda replica: self._in_flight.get(replica.id, 0))

    @asynccontextmanager
    async def post(
        self, replica: Replica, path: str, body: bytes, headers: dict[str, str], timeout_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open `POST path` on a replica.

        Leaving the block before the answer is complete closes the connection, which aborts
        the request in the engine. Raises aiohttp's `ClientError` when the replica cannot be
        reached or is silent for `stall_timeout_s`, and `TimeoutError` when `timeout_s` has
        passed, then or later while reading.
        """
        self._in_flight[replica.id] = self._in_flight.get(replica.id, 0) + 1
        timeout = aiohttp.ClientTimeout(
            total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S, sock_read=self._stall_timeout_s
        )
        try:
            async with self._http.post(
                _url(replica.url, path), data=body, headers=headers, timeout=timeout
            ) as response:
                yield response
        finally:
            left = self._in_flight[replica.id] - 1
            if left:
                self._in_flight[replica.id] = left
            else:
                del self._in_flight[replica.id]


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
