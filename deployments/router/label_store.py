"""Store scored prompts and their labels in Redis.

Promises: a scored prompt is kept as numbers for `keep_s`, under its tenant's name, so that no
tenant can label another's; labels are kept in order, the newest `max_labels` of them. Whatever
goes wrong here costs a label, never a request.
Not covered: labels at odds with one another; all of them count.
"""

import hashlib
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from core.redis_client import connect
from router.adapt.labels import Label, ScoredPrompt

LABELS, GIVEN = "hansom:{labels}:rows", "hansom:{labels}:given"
WEIGHTS = "hansom:{labels}:weights"
_SEEN = "hansom:seen:"


class LabelStore:
    """One Redis. Methods raise `redis.RedisError` or `OSError`."""

    def __init__(self, url: str, *, keep_s: int, max_labels: int) -> None:
        self._redis = connect(url, retries=1, socket_timeout=2.0)
        self._keep_s = keep_s
        self._max_labels = max_labels

    async def remember(self, tenant: str, request_id: str, seen: ScoredPrompt) -> None:
        """Keep a scored prompt; a request id that comes again takes the place of the older one."""
        await self._redis.set(_key(tenant, request_id), seen.to_bytes(), ex=self._keep_s)

    async def label(self, tenant: str, request_id: str, head: int, right: float) -> bool:
        """Add a label; False when this tenant had no such request lately."""
        raw = await self._redis.get(_key(tenant, request_id))
        if not isinstance(raw, bytes):
            return False
        await self.add([Label(ScoredPrompt.from_bytes(raw), head, right)])
        return True

    async def add(self, labels: Sequence[Label]) -> None:
        """Add labels, all or none."""
        if not labels:
            return
        pipe = self._redis.pipeline(transaction=True)
        pipe.rpush(LABELS, *(label.to_bytes() for label in labels))
        pipe.ltrim(LABELS, -self._max_labels, -1)
        pipe.incrby(GIVEN, len(labels))
        await pipe.execute()

    async def given(self) -> int:
        """Labels that were ever given, also those that were since pushed out."""
        return int(await self._redis.get(GIVEN) or 0)

    async def labels(self) -> list[Label]:
        """All labels, oldest first; what is not one is passed over."""
        raw = await cast(Awaitable[list[Any]], self._redis.lrange(LABELS, 0, -1))
        found = []
        for one in raw:
            try:
                found.append(Label.from_bytes(one))
            except ValueError:
                continue
        return found

    async def use(self, weights: str) -> None:
        """Have every router of this memory take the weights in a folder of its own machine."""
        await self._redis.set(WEIGHTS, weights)

    async def used(self) -> str:
        """The folder that `use` named last, empty when there was none."""
        raw = await self._redis.get(WEIGHTS)
        return raw.decode() if isinstance(raw, bytes) else ""

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _key(tenant: str, request_id: str) -> str:
    """One hash tag per tenant keeps a tenant in one cluster slot."""
    owner = hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_SEEN}{{{owner}}}:{request_id}"
