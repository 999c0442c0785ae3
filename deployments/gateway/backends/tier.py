"""Choose a replica of a tier, and speak HTTP to it.

Tokens do not cross a deployment handle: with direct ingress every replica has its own HTTP
port under Serve's admission, draining and health checks, and a plain HTTP stream costs a fifth
of a handle's stream per token (docs/benchmarks.md). Ray has no public call for a replica's
address, so the one private path to it stands in `_running` and nowhere else;
`tests/live/test_serve_graph.py` fails when a Ray upgrade moves it.

Which of them it is says `deployments.gateway.backends.choice`, which needs no message to anyone.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import orjson
import ray
from ray.serve.handle import DeploymentHandle

from core.call import Lane, Usage
from core.capability import Capabilities
from core.errors import Unavailable
from deployments.gateway.backends.choice import InFlight, Pace, ReplicaPicker
from deployments.gateway.backends.exchange import Connections, Exchange
from deployments.gateway.backends.lane import BatchPlaces, batch_room
from deployments.gateway.backends.prefix_index import NO_PROMPT, Prompt
from deployments.gateway.backends.wake_queue import WakeQueue
from deployments.names import CAPABILITIES_PATH, ENGINE_DEPLOYMENT, USAGE_PATH, handle_of, tier_app

_USAGE_TIMEOUT_S = 30.0
_USAGE_AGAIN_S = 0.1
_CAPABILITIES_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Replica:
    """A running replica: its id, and the host and port of its own HTTP server."""

    id: str
    address: tuple[str, int]


Running = Callable[[], list[Replica]]


class ServeReplicas:
    """The `Running` of a tier in a Serve cluster, from what Serve sends to each handle."""

    def __init__(self, tier: str) -> None:
        self._handle = handle_of(ENGINE_DEPLOYMENT, tier_app(tier))
        self._node_id = ray.get_runtime_context().get_node_id()

    def __call__(self) -> list[Replica]:
        """Replicas that Serve calls running now; the first call begins to listen."""
        return _running(self._handle, self._node_id)


class TierReplicas:
    """The replicas of one tier, seen from one gateway; `running` lists those there are now.

    A tier with a `wake_queue` may have none. `choice` says which of them takes a call. `told` is
    what the replica that was asked last says that it can do, None before any was asked.
    """

    def __init__(
        self,
        tier: str,
        running: Running,
        connections: Connections,
        stall_timeout_s: float,
        *,
        choice: ReplicaPicker | None = None,
        wake_queue: WakeQueue | None = None,
    ) -> None:
        self.tier = tier
        self.running = running
        self.wake_queue = wake_queue
        self.told: Capabilities | None = None
        self._choice = choice or ReplicaPicker(Pace())
        self._connections = connections
        self._stall_timeout_s = stall_timeout_s
        self.batch = BatchPlaces(self._batch_room)

    @property
    def in_flight(self) -> int:
        """Requests this gateway has open on the tier."""
        return self._choice.calls

    def left(self, skip: frozenset[str]) -> list[Replica]:
        """Running replicas that are not in `skip`."""
        running = self.running()
        self._choice.keep([replica.id for replica in running])
        return [replica for replica in running if replica.id not in skip]

    def choose(self, skip: frozenset[str] = frozenset(), prompt: Prompt = NO_PROMPT) -> Replica:
        """The best replica not in `skip`; raises `Unavailable` when none is left."""
        if not (candidates := self.left(skip)):
            raise Unavailable(
                f"No replica of tier {self.tier!r} is running.",
                code="no_replica",
                retry_after_s=5,
            )
        return self._best(candidates, prompt)

    def resident(self, prompt: Prompt) -> float:
        """The largest share of the prompt, in [0, 1], that a running replica has cached."""
        if not prompt.blocks:
            return 0.0
        return self._choice.resident([replica.id for replica in self.running()], prompt)

    @property
    def asleep(self) -> bool:
        """Whether a call that comes now is held."""
        return self.wake_queue is not None and (bool(self.wake_queue.calls) or not self.running())

    async def find(
        self, skip: frozenset[str], prompt: Prompt, timeout_s: float
    ) -> tuple[Replica, bool]:
        """A replica not in `skip`, and whether the call was held until there was one.

        A call to a tier that may have no replica waits for one, and for room on it, behind those
        that wait already; `TimeoutError` after `timeout_s`. For any other tier raises `Unavailable`
        when none is left.
        """
        wake_queue = self.wake_queue
        if wake_queue is None or (not wake_queue.calls and self.left(skip)):
            return self.choose(skip, prompt), False
        with wake_queue.hold(prompt.tokens):
            async with asyncio.timeout(timeout_s):
                while not (found := self._with_room(skip, prompt)):
                    await wake_queue.wait_turn()
                return found, True

    def _with_room(self, skip: frozenset[str], prompt: Prompt) -> Replica | None:
        """The best replica that takes one request more from us."""
        candidates = [one for one in self.left(skip) if self._choice.has_room(one.id)]
        return self._best(candidates, prompt) if candidates else None

    def _batch_room(self) -> int:
        choice = self._choice
        return batch_room(len(self.running()), choice.pace.room, choice.gateways)

    def _best(self, candidates: Sequence[Replica], prompt: Prompt) -> Replica:
        ids = [replica.id for replica in candidates]
        return candidates[ids.index(self._choice.pick(ids, prompt, time.monotonic()))]

    async def post(
        self,
        replica: Replica,
        path: str,
        body: bytes,
        headers: dict[str, str],
        timeout_s: float,
        lane: Lane = Lane.INTERACTIVE,
        prompt: Prompt = NO_PROMPT,
    ) -> Exchange:
        """Open `POST path` with `prompt` in its body on a replica; the caller closes what this
        returns.

        Raises `ReplicaGone` when the replica cannot be reached or is silent for
        `stall_timeout_s`, and `TimeoutError` when `timeout_s` has passed, then or later while
        reading. A batch call may wait in the engine for as long as `timeout_s`.
        """
        batch = lane is Lane.BATCH
        sent = self._choice.send(replica.id, prompt, time.monotonic(), behind=batch)
        self.batch.open += batch
        try:
            exchange = await self._connections.post(
                replica.address, path, body, headers, timeout_s=timeout_s,
                stall_timeout_s=timeout_s if batch else self._stall_timeout_s,
                on_first=sent.begun,
            )  # fmt: skip
        except BaseException:
            self._leave(sent, batch=batch)
            raise
        exchange.on_close = partial(self._leave, sent, batch=batch)
        return exchange

    async def usage(self, replica: Replica, engine_request_id: str) -> Usage:
        """What a request took that was left before its end, by the engine's own count.

        Raises `ReplicaGone` or `ValueError` where the replica does not tell; the caller has the
        deadline.
        """
        body = orjson.dumps({"id": engine_request_id})
        while True:
            exchange = await self._connections.post(
                replica.address, USAGE_PATH, body, {"content-type": "application/json"},
                timeout_s=_USAGE_TIMEOUT_S, stall_timeout_s=_USAGE_TIMEOUT_S,
            )  # fmt: skip
            try:
                raw = await exchange.read()
            finally:
                exchange.close()
            if exchange.status == 200:  # null: it never came there
                return msgspec.json.decode(raw, type=Usage | None) or Usage()
            if exchange.status != 503:
                raise ValueError(f"HTTP {exchange.status}")
            await asyncio.sleep(_USAGE_AGAIN_S)  # all of the replica's places are taken

    async def capabilities(self, replica: Replica) -> Capabilities:
        """What the engine of a replica can do, by its own account; kept in `told`.

        Raises `ReplicaGone`, `TimeoutError` or `ValueError` where it does not tell now.
        """
        exchange = await self._connections.post(
            replica.address, CAPABILITIES_PATH, b"{}", {"content-type": "application/json"},
            timeout_s=_CAPABILITIES_TIMEOUT_S, stall_timeout_s=_CAPABILITIES_TIMEOUT_S,
        )  # fmt: skip
        try:
            raw = await exchange.read()
        finally:
            exchange.close()
        if exchange.status != 200:
            raise ValueError(f"HTTP {exchange.status}")
        self.told = msgspec.json.decode(raw, type=Capabilities)
        return self.told

    def _leave(self, sent: InFlight, *, batch: bool) -> None:
        self.batch.open -= batch
        sent.ended()


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
        found.append(Replica(replica.replica_id.unique_id, (host, port)))
    return found
