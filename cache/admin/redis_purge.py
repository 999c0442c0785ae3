"""Remove cached answers and semantic entries from a Redis in use.

Promises: works in batches of which each takes Redis a few milliseconds; freeing is left to its
background thread. An entry goes together with its vector, and with the answer that it names when
that is what is selected; entries follow an answer that is removed. What a gateway writes at the
same time stays or goes as a whole: at worst it costs a hit. Every failure is an exception of the
redis client; what was removed before it stays removed.
Not covered: an answer that is being generated now and kept afterwards, and records of served hits,
which end by themselves after a day; clusters and sentinels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cache.admin.key_names import KeyKind, Name, parted, pattern, read
from cache.admin.purge import HEAD_BYTES, Selection, made_s
from cache.semantic.entries import SemanticEntry, entry_key
from cache.semantic.redis_vectors import RedisVectors
from core.redis_client import connect

_BATCH = 500
# Taking one vector out of a set of 3,000 takes Redis about 0.1 ms.
_VECTORS = 20
_TIMEOUT_S = 10.0

# tag set | names: those of which nothing is left.
_FORGET_NAMES = """
for _, name in ipairs(ARGV) do
  if redis.call('EXISTS', name) == 0 then redis.call('SREM', KEYS[1], name) end
end
"""

# vector set | how many, entry key without id -> how many of them had no entry and were removed
_FORGET_DEAD = """
local dead = 0
for _, id in ipairs(redis.call('VRANDMEMBER', KEYS[1], ARGV[1])) do
  if redis.call('EXISTS', ARGV[2] .. id) == 0 then
    dead = dead + redis.call('VREM', KEYS[1], id)
  end
end
return dead
"""


@dataclass(frozen=True, slots=True)
class Purged:
    """How many were there and are not any more."""

    answers: int
    entries: int


class RedisPurge:
    """Removes a `Selection` once: make a new one for another."""

    def __init__(self, url: str, selection: Selection) -> None:
        self._selection = selection
        self._redis = connect(url, retries=1, socket_timeout=_TIMEOUT_S)
        self._vectors = RedisVectors(url, timeout_s=_TIMEOUT_S, max_connections=2)
        self._forget_names = self._redis.register_script(_FORGET_NAMES)
        self._forget_dead = self._redis.register_script(_FORGET_DEAD)
        self._scopes: dict[str, str] = {}
        self._removed: set[str] = set()
        self._tagged: set[str] = set()
        self._answers = self._entries = 0

    async def run(self) -> Purged:
        """Remove what is selected; raises `redis.RedisError` or `OSError`."""
        await self._resolve()
        async for keys in self._answer_keys():
            await self._remove_answers(keys)
        async for sets in self._scan(pattern(KeyKind.SCOPE, self._selection.owners)):
            scopes = [cast(Name, read(one)).scope_key for one in sets]
            self._scopes.update((entry_key(scope, ""), scope) for scope in scopes)
        async for found in self._scan(pattern(KeyKind.ENTRY, self._selection.owners)):
            await self._remove_entries([key.decode() for key in found])
        await self._tidy()
        return Purged(self._answers, self._entries)

    async def close(self) -> None:
        """Close all connections."""
        await self._vectors.close()
        await self._redis.aclose()

    async def _resolve(self) -> None:
        """A named entry stands for its answer, too: else its own text would still be answered."""
        keys = self._selection.keys
        if keys is None:
            return
        found = [_entry(raw) for raw in await self._redis.mget(sorted(keys))]
        names = keys | {one.exact_key for one in found if one}
        chosen = self._selection
        self._selection = Selection(chosen.owner, chosen.tag, names, chosen.before_s)

    async def _answer_keys(self) -> AsyncIterator[list[str]]:
        """The keys of answers that may be selected; all members of a tag's sets are noted."""
        chosen = self._selection
        if chosen.tag is not None:
            async for sets in self._scan(pattern(KeyKind.TAG, chosen.owners, chosen.tag)):
                for one in sets:
                    async for members in self._members(one):
                        keys = [member.decode("utf-8", "surrogateescape") for member in members]
                        self._tagged.update(key for key in keys if parted(key))
                        yield keys
        elif chosen.keys is not None:
            yield sorted(chosen.keys)
        else:
            async for found in self._scan(pattern(KeyKind.ANSWER, chosen.owner)):
                yield [key.decode() for key in found]

    async def _remove_answers(self, keys: Sequence[str]) -> None:
        chosen = self._selection
        ages: Sequence[float | None] = [None] * len(keys)
        if chosen.before_s is not None and keys:
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.getrange(key, 0, HEAD_BYTES - 1)
            ages = [made_s(head) for head in await pipe.execute()]
        doomed = [key for key, age in zip(keys, ages, strict=True) if chosen.answer(key, age)]
        if not doomed:
            return
        if not chosen.whole:
            self._removed.update(doomed)
        self._answers += await self._redis.unlink(*doomed)

    async def _remove_entries(self, keys: Sequence[str]) -> None:
        chosen = self._selection
        doomed: dict[str, list[str]] = defaultdict(list)
        answers = []
        for key, raw in zip(keys, await self._redis.mget(keys), strict=True):
            entry, where = _entry(raw), parted(key)
            if raw is None or where is None:
                continue
            own = chosen.entry(key, entry, self._tagged)
            if own or (entry is not None and entry.exact_key in self._removed):
                doomed[where[0]].append(where[1])
            if own and entry is not None and chosen.tag is not None:
                answers.append(entry.exact_key)
        await self._remove_answers(answers)
        for shared, ids in doomed.items():
            await self._forget(shared, ids)
            self._entries += len(ids)

    async def _forget(self, shared: str, ids: Sequence[str]) -> None:
        """A vector whose set was not there when this began is left to who comes across it."""
        scope_key = self._scopes.get(shared)
        if scope_key is None:
            await self._redis.unlink(*(shared + id for id in ids))
            return
        for start in range(0, len(ids), _VECTORS):
            await self._vectors.forget(scope_key, ids[start : start + _VECTORS])

    async def _tidy(self) -> None:
        """Vectors and tags of what is gone; after a choice by age or key they go by themselves."""
        chosen = self._selection
        if chosen.tag is not None or chosen.whole:
            async for sets in self._scan(pattern(KeyKind.TAG, chosen.owners, chosen.tag)):
                for one in sets:
                    async for members in self._members(one):
                        await self._forget_names(keys=[one], args=members)
        if chosen.whole:
            async for sets in self._scan(pattern(KeyKind.SCOPE, chosen.owner)):
                for one in sets:
                    given = (_VECTORS, entry_key(cast(Name, read(one)).scope_key, ""))
                    while await self._forget_dead(keys=[one], args=given):
                        pass

    async def _members(self, key: bytes) -> AsyncIterator[list[bytes]]:
        cursor = 0
        while True:
            cursor, members = await self._redis.sscan(key, cursor, count=_BATCH)
            if members:
                yield cast(list[bytes], members)
            if not cursor:
                return

    async def _scan(self, match: str) -> AsyncIterator[list[bytes]]:
        """Keys of a pattern that are well formed, a few hundred at once, maybe some twice."""
        cursor = 0
        while True:
            cursor, keys = await self._redis.scan(cursor, match, _BATCH)
            if found := [key for key in cast(list[bytes], keys) if read(key)]:
                yield found
            if not cursor:
                return


def _entry(raw: Any) -> SemanticEntry | None:
    try:
        return SemanticEntry.from_bytes(cast(bytes, raw)) if raw else None
    except ValueError:
        return None
