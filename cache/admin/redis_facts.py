"""Read the facts of a Redis that decide whether it may hold Hansom's data.

Promises: pure. A Redis that may evict anything is refused, because ledger and budgets lie in it;
one without vector sets serves everything but the semantic cache.
Not covered: how much memory is enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """`eviction` is the `maxmemory-policy`, empty where it is not told.

    `maxmemory_bytes` 0 is no limit.
    """

    version: str
    eviction: str
    maxmemory_bytes: int
    vector_sets: bool

    @classmethod
    def from_info(cls, info: Mapping[str, object], *, vector_sets: bool) -> "RedisFacts":
        """From the answer to INFO; what is missing there counts as not told."""
        memory = str(info.get("maxmemory") or 0)
        return cls(
            version=str(info.get("redis_version") or "unknown"),
            eviction=str(info.get("maxmemory_policy") or ""),
            maxmemory_bytes=int(memory) if memory.isdigit() else 0,
            vector_sets=vector_sets,
        )


def refusal(facts: RedisFacts) -> str | None:
    """Why this Redis must not be used, and what to do; None when it may."""
    if not facts.eviction.startswith("allkeys"):
        return None
    return (
        f"Redis {facts.version} has maxmemory-policy {facts.eviction!r}: under pressure it would "
        "throw away ledger lines and budgets, not only cached answers. Set it to 'volatile-lfu' "
        "(CONFIG SET maxmemory-policy volatile-lfu), or give Hansom a Redis of its own."
    )


def without_semantic(facts: RedisFacts) -> str | None:
    """Why there is no semantic cache on this Redis; None when there can be one."""
    if facts.vector_sets:
        return None
    return (
        f"Redis {facts.version} has no vector sets (VADD, VSIM), which come with Redis 8: "
        "the semantic cache is off, the exact cache works."
    )
