"""Count what the cache stores in Redis, by owner, from the names of its keys.

Promises: pure but for the caller's generator; each kind keeps a uniform sample of its keys, however
many come (Vitter's algorithm R, doi 10.1145/3147.3165), so that their sizes can be estimated.
Not covered: a key that comes twice counts twice; SCAN may do that while a table is resized.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from cache.admin.key_names import KeyKind, read

SAMPLED = 200
COUNTED = (KeyKind.ANSWER, KeyKind.ENTRY, KeyKind.SCOPE)


class Census:
    """Counts and samples of the keys seen so far."""

    def __init__(self, random: Random, sampled: int = SAMPLED) -> None:
        self.counts: Counter[tuple[str, KeyKind]] = Counter()
        self.samples: dict[KeyKind, list[bytes]] = {kind: [] for kind in COUNTED}
        self.budgets: list[bytes] = []
        self._random = random
        self._sampled = sampled
        self._seen: Counter[KeyKind] = Counter()

    def add(self, keys: Sequence[bytes]) -> None:
        """Count these keys; names that are not the cache's are passed over."""
        for key in keys:
            name = read(key)
            if name is None:
                continue
            if name.kind is KeyKind.BUDGET:
                self.budgets.append(key)
            if name.kind in COUNTED:
                self.counts[name.owner, name.kind] += 1
                self._draw(name.kind, key)

    def total(self, kind: KeyKind) -> int:
        """Keys of a kind."""
        return self._seen[kind]

    def owners(self) -> list[tuple[str, dict[KeyKind, int]]]:
        """Each owner's counts, those with the most answers and entries first."""
        found: dict[str, dict[KeyKind, int]] = {}
        for (owner, kind), count in self.counts.items():
            found.setdefault(owner, dict.fromkeys(COUNTED, 0))[kind] = count
        return sorted(
            found.items(), key=lambda one: (-one[1][KeyKind.ANSWER] - one[1][KeyKind.ENTRY], one[0])
        )

    def _draw(self, kind: KeyKind, key: bytes) -> None:
        self._seen[kind] += 1
        sample = self.samples[kind]
        if len(sample) < self._sampled:
            sample.append(key)
        elif (at := self._random.randrange(self._seen[kind])) < self._sampled:
            sample[at] = key


@dataclass(frozen=True, slots=True)
class CacheRedis:
    """What the cache's Redis says of itself; `maxmemory_bytes` 0 is no limit."""

    version: str
    eviction: str
    maxmemory_bytes: int
    used_bytes: int
    evicted_keys: int
    vector_sets: bool


def estimated_bytes(count: int, sizes: Sequence[int | None]) -> int:
    """The size of `count` keys from that of some; a key that was gone when measured has None."""
    known = [size for size in sizes if size is not None]
    return round(count * sum(known) / len(known)) if known else 0


def number(info: Mapping[str, object], field: str) -> int:
    """A count of INFO, 0 where it is not told."""
    told = str(info.get(field) or 0)
    return int(told) if told.isdigit() else 0
