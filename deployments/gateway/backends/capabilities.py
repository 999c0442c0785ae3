"""Know what each tier can do, from its settings and its engines.

Promises: what the settings' `capabilities` say holds; then what the replica says that was asked
last; then what the engine's arguments let expect. A tier that has no replica keeps what its last
one said. Each new replica is asked once, off the request path; one that does not tell is asked
again.
Not covered: replicas of one tier that differ while it is upgraded. A refusal tells the truth then
(`deployments.gateway.backends.refusal`).
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from core.capability import UNKNOWN, Capabilities
from core.settings.load import Tier
from deployments.gateway.backends.tier import Replica, TierReplicas

REFRESH_S = 0.5


class KnownCapabilities:
    """The capabilities of all tiers; one per gateway replica."""

    def __init__(self, tiers: Sequence[Tier], replicas: Mapping[str, TierReplicas]) -> None:
        self._tiers = tiers
        self._replicas = replicas
        self._asked: dict[str, frozenset[str]] = {}
        self._seen: tuple[Capabilities | None, ...] = ()
        self._known: Mapping[str, Capabilities] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._refresh())

    async def close(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def now(self) -> Mapping[str, Capabilities]:
        """What each tier can do, by its name."""
        seen = tuple(self._replicas[tier.name].told for tier in self._tiers)
        if seen != self._seen:  # every request asks, and engines tell once
            self._seen = seen
            self._known = {
                tier.name: tier.stated.over(told or UNKNOWN).over(tier.expected)
                for tier, told in zip(self._tiers, seen, strict=True)
            }
        return self._known

    async def _refresh(self) -> None:
        while True:
            with suppress(Exception):  # whatever Ray raises while it starts or ends: asked again
                await self.ask()
            await asyncio.sleep(REFRESH_S)

    async def ask(self) -> None:
        """Ask each replica that was not asked before; those that have gone are forgotten."""
        for name, replicas in self._replicas.items():
            running = replicas.running()
            known = self._asked.get(name, frozenset()) & {one.id for one in running}
            told = [
                one.id for one in running if one.id not in known and await _tells(replicas, one)
            ]
            self._asked[name] = known | frozenset(told)


async def _tells(replicas: TierReplicas, replica: Replica) -> bool:
    try:
        await replicas.capabilities(replica)
    except (OSError, ValueError):  # gone, full, or of a version that does not tell
        return False
    return True
