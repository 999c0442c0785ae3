"""Search entries near a vector in a vector set of Redis 8.

Promised: every operation is one round trip and one atomic script. A vector whose entry has expired
is no result and is removed when it is come across, by a search or by one of the few that every
`keep` draws; so the dead stay a minority. The set lives as long as the entry that lives longest.
Not covered: clusters and sentinels by this client, as in `cache.exact.redis_store`. A script names
the keys of entries itself, which clusters allow because all have one hash tag.
"""

from collections.abc import Awaitable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cache.semantic.boundary import KEPT
from cache.semantic.entries import FORMAT_VERSION, SemanticEntry, entry_key, near_key, outcome
from core.redis_client import connect_pool

# Links of a vector, and candidates looked at while linking and while searching. Recall@1 at 100,000
# entries as in `bench.lookup`: 6/100/100 .985, 7/100/100 .990, 7/100/200 .994, 7/150/150 .993,
# 8/150/100 .993; and an eighth link takes an entry past 1,300 bytes. At a million, where
# 7/100/150 gives .950 and 7/178/356 .980, it takes 7/178/530 for .987 and 7/178/710 for .992: so
# linking looks at more with the fourth root of a set's size and searching with its square root.
# Redis refuses a vector for a set that was begun with other `LINKS`.
LINKS = 7
EF_KEEP = 100
EF_NEAR = 200
_EF_LEAST = 100
# Members that a `keep` draws. With d of them dead it removes about 4 d, and adds one: in the long
# run a quarter is dead at most.
_DRAWN = 4

# set | vector, count, ef at 100,000, least ef, entry key without id -> id, score, bytes, id, ...
# After dead ones were removed the search is repeated, twice at most, for those behind them.
_NEAR = """
local shown
local ef = math.ceil(ARGV[3] * (redis.call('VCARD', KEYS[1]) / 1e5) ^ 0.5)
ef = math.max(ef, ARGV[4])
for _ = 1, 3 do
  local found = redis.call('VSIM', KEYS[1], 'FP32', ARGV[1], 'WITHSCORES', 'COUNT', ARGV[2],
    'EF', ef)
  shown = {}
  if #found == 0 then return shown end
  local names = {}
  for at = 1, #found, 2 do names[#names + 1] = ARGV[5] .. found[at] end
  local dead = 0
  for at, entry in ipairs(redis.call('MGET', unpack(names))) do
    local id = found[2 * at - 1]
    if entry then
      shown[#shown + 1], shown[#shown + 2], shown[#shown + 3] = id, found[2 * at], entry
    else
      dead = dead + 1
      redis.call('VREM', KEYS[1], id)
    end
  end
  if dead == 0 then return shown end
end
return shown
"""

# set, entry | vector, id, bytes, ttl in ms, cap, links, ef up to 100,000, drawn, entry key without
# id. Of the drawn members those that are dead go, and above the cap those with the least time left.
# One more is drawn than looked at, as the new one may be among them.
_KEEP = """
local ef = math.ceil(ARGV[7] * math.max(1, (redis.call('VCARD', KEYS[1]) / 1e5) ^ 0.25))
redis.call('VADD', KEYS[1], 'FP32', ARGV[1], ARGV[2], 'Q8', 'EF', ef, 'M', ARGV[6])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local above = redis.call('VCARD', KEYS[1]) - ARGV[5]
local drawn = {}
for _, id in ipairs(redis.call('VRANDMEMBER', KEYS[1], ARGV[8] + 1)) do
  if id ~= ARGV[2] and #drawn < tonumber(ARGV[8]) then
    drawn[#drawn + 1] = {id, redis.call('PTTL', ARGV[9] .. id)}
  end
end
table.sort(drawn, function(one, other) return one[2] < other[2] end)
for _, one in ipairs(drawn) do
  if one[2] == -2 or above > 0 then
    redis.call('VREM', KEYS[1], one[1])
    redis.call('DEL', ARGV[9] .. one[1])
    above = above - 1
  end
end
"""

# set | entry key without id, ids
_FORGET = """
for at = 2, #ARGV do
  redis.call('VREM', KEYS[1], ARGV[at])
  redis.call('DEL', ARGV[1] .. ARGV[at])
end
"""

# entry | outcome, format version, outcomes kept
_LEARN = """
local entry = redis.call('GET', KEYS[1])
if not entry or string.byte(entry, 1) ~= tonumber(ARGV[2]) then return end
local count, size = string.byte(entry, 2), #ARGV[1]
local first, last = 3, 2 + count * size
if count >= tonumber(ARGV[3]) then first, count = first + size, count - 1 end
redis.call('SET', KEYS[1], string.sub(entry, 1, 1) .. string.char(count + 1)
  .. string.sub(entry, first, last) .. ARGV[1] .. string.sub(entry, last + 1), 'KEEPTTL')
"""


class RedisVectors:
    """`cache.semantic.entries.Nearby` over one Redis; `redis://`, `rediss://` and `unix://` URLs.

    `timeout_s` is what connecting, a free connection and an answer may take each; after that
    `redis.RedisError` is raised.
    """

    def __init__(self, url: str, *, timeout_s: float = 0.25, max_connections: int = 64) -> None:
        # One immediate retry: after a restart of Redis every pooled connection is stale once. A
        # timeout is not retried: the caller has waited, and the script may have run.
        self._redis = connect_pool(
            url,
            max_connections,
            retries=1,
            timeouts=False,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        scripts = (_NEAR, _KEEP, _FORGET, _LEARN)
        self._scripts = {text: self._redis.register_script(text) for text in scripts}

    async def near(
        self, scope_key: str, vector: NDArray[np.float32], count: int
    ) -> list[tuple[SemanticEntry, float]]:
        """See `Nearby`. Entries of another format version are left out, but not removed.

        Cosines are those of int8 vectors: off by 0.001 or so.
        """
        least = max(_EF_LEAST, count)
        given = (_bytes(vector), count, EF_NEAR, least, entry_key(scope_key, ""))
        found = await self._run(_NEAR, [near_key(scope_key)], given)
        near = []
        for score, raw in zip(found[1::3], found[2::3], strict=True):
            try:
                entry = SemanticEntry.from_bytes(raw)
            except ValueError:
                continue
            # Redis's score is (1 + cosine) / 2.
            near.append((entry, min(1.0, max(-1.0, 2 * float(score) - 1))))
        return near

    async def keep(
        self,
        scope_key: str,
        vector: NDArray[np.float32],
        entry: SemanticEntry,
        ttl_s: int,
        cap: int,
    ) -> None:
        """See `Nearby`. A set above its `cap`, say because that was lowered, loses 4 a time.

        Raises `ValueError` for a vector without direction, which Redis would take.
        """
        keys = [near_key(scope_key), entry_key(scope_key, entry.id)]
        how = (LINKS, EF_KEEP, _DRAWN, entry_key(scope_key, ""))
        given = (_bytes(vector), entry.id, entry.to_bytes(), ttl_s * 1000, cap, *how)
        await self._run(_KEEP, keys, given)

    async def forget(self, scope_key: str, ids: Sequence[str]) -> None:
        """See `Nearby`."""
        if ids:
            await self._run(_FORGET, [near_key(scope_key)], (entry_key(scope_key, ""), *ids))

    async def learn(self, scope_key: str, id: str, cosine: float, same: bool) -> None:
        """See `Nearby`. The entry's time to live stays; of another format version, so does it."""
        given = (outcome(cosine, same), FORMAT_VERSION, KEPT)
        await self._run(_LEARN, [entry_key(scope_key, id)], given)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def _run(self, script: str, keys: list[str], given: Sequence[Any]) -> Any:
        return await cast(Awaitable[Any], self._scripts[script](keys=keys, args=given))


def _bytes(vector: NDArray[np.float32]) -> bytes:
    """(D,) as Redis reads it; raises `ValueError` where there is no direction."""
    if not 0 < float(vector @ vector) < np.inf:
        raise ValueError("a vector must be finite and not 0")
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()
