"""Pick the replica that begins its answer first, by what the gateway knows.

In prompt tokens, for each replica:

    weight = tokens that wait there + RUNNING_TOKENS * calls that it has
             - tokens of this prompt that its prefix cache holds

which is what stands between the call and its first token, less what is the same on all of them.
`hansom plan replay` counts with the same weight. What waits is known without asking: this gateway's
own prompts, less what the tier's profile says has been prefilled since, and less all that came
before a prompt whose answer has begun, as an engine takes them in order.

Promises: pure but for what it is told; a replica that is full, or whose KV cache the prompt will
not fit, comes after all others; among equals a prompt has a home that every gateway knows, so that
equal beginnings meet there without a word between gateways.
Not covered: what other gateways send, but for their share of a replica's pace.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoscale.policy.profile import EngineProfile
from core.settings.load import Tier, VllmEngine
from deployments.gateway.backends.prefix_index import BLOCK_TOKENS, PrefixIndex, Prompt

RUNNING_TOKENS = 20
"""What a call that runs weighs, in prompt tokens that wait; the replay's, too."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What one replica does.

    It prefills `prefill_tokens_per_s`, holds `kv_tokens` of which it finds beginnings again when
    `caches_prefixes`, and has `room` for so many calls at once.
    """

    prefill_tokens_per_s: float = 4000.0
    kv_tokens: float = math.inf
    caches_prefixes: bool = True
    room: int = 1


class _Load:
    """One replica: its open calls and their prompt tokens; of all tokens sent, those prefilled."""

    __slots__ = ("at_s", "calls", "prefilled", "prefixes", "sent", "tokens")

    def __init__(self, most_blocks: int) -> None:
        self.calls = self.tokens = 0
        self.sent = self.prefilled = self.at_s = 0.0
        self.prefixes = PrefixIndex(most_blocks)

    def waiting(self, now_s: float, per_s: float) -> float:
        """Prompt tokens that are not prefilled yet."""
        passed_s = max(0.0, now_s - self.at_s)
        self.prefilled = min(self.sent, self.prefilled + passed_s * per_s)
        self.at_s = now_s
        return self.sent - self.prefilled


class InFlight:
    """One call on its replica; `ended` once, `begun` when the first of its answer is there."""

    __slots__ = ("_begun", "_fresh", "_load", "_mark", "_tokens")

    def __init__(self, load: _Load, prompt: Prompt, fresh: float) -> None:
        self._load = load
        self._fresh, self._tokens = fresh, prompt.tokens
        self._begun = False
        load.calls += 1
        load.tokens += prompt.tokens
        load.sent += fresh
        load.prefixes.add(prompt)
        self._mark = load.sent

    def begun(self) -> None:
        """Whatever was sent up to it has been prefilled."""
        self._begun = True
        self._load.prefilled = max(self._load.prefilled, self._mark)

    def ended(self) -> None:
        """It is not there any more; without a beginning it was left, and nobody prefills it."""
        load = self._load
        load.calls -= 1
        load.tokens -= self._tokens
        if not self._begun:
            load.prefilled = min(load.sent, load.prefilled + self._fresh)


class ReplicaPicker:
    """The replicas of one tier, by what one of so many gateways has sent them.

    `now_s` is on any one clock.
    """

    def __init__(self, pace: Pace, gateways: int = 1) -> None:
        self.pace, self.gateways = pace, gateways
        self._tokens_per_s = pace.prefill_tokens_per_s / gateways
        cached = pace.kv_tokens if pace.caches_prefixes else 0.0
        self._most_blocks = int(min(cached / BLOCK_TOKENS, 1 << 20))
        self._loads: dict[str, _Load] = {}

    @property
    def calls(self) -> int:
        """Open calls."""
        return sum(load.calls for load in self._loads.values())

    def has_room(self, id: str) -> bool:
        """Whether a replica takes one call more, as far as this gateway knows."""
        load = self._loads.get(id)
        return load is None or load.calls < self.pace.room

    def pick(self, ids: Sequence[str], prompt: Prompt, now_s: float) -> str:
        """One of `ids`, of which there is at least one."""
        if len(ids) == 1:
            return ids[0]
        weights = [self._weight(id, prompt, now_s) for id in ids]
        least = min(weights)
        best = [id for id, weight in zip(ids, weights, strict=True) if weight == least]
        return best[0] if len(best) == 1 else max(best, key=lambda id: _home(id, prompt))

    def send(self, id: str, prompt: Prompt, now_s: float, *, behind: bool = False) -> InFlight:
        """The replica is sent a prompt; one of the batch lane waits `behind` and delays nobody."""
        load = self._loads.get(id)
        if load is None:
            load = self._loads[id] = _Load(self._most_blocks)
        load.waiting(now_s, self._tokens_per_s)
        fresh = 0.0 if behind else float(prompt.tokens - load.prefixes.tokens(prompt))
        return InFlight(load, prompt, fresh)

    def resident(self, ids: Sequence[str], prompt: Prompt) -> float:
        """The largest share of the prompt, in [0, 1], that one of `ids` has in its prefix cache."""
        loads = [load for id in ids if (load := self._loads.get(id))]
        most = max((load.prefixes.tokens(prompt) for load in loads), default=0)
        return min(1.0, most / max(1, prompt.tokens))

    def keep(self, ids: Sequence[str]) -> None:
        """Forget replicas that are gone, once their last call has ended."""
        if len(self._loads) > len(ids):
            gone = self._loads.keys() - set(ids)
            for id in [id for id in gone if not self._loads[id].calls]:
                del self._loads[id]

    def _weight(self, id: str, prompt: Prompt, now_s: float) -> tuple[bool, float]:
        load = self._loads.get(id)
        if load is None:
            return False, 0.0
        pace = self.pace
        full = load.calls >= pace.room or load.tokens + prompt.tokens > pace.kv_tokens
        waiting = load.waiting(now_s, self._tokens_per_s)
        held = load.prefixes.tokens(prompt)
        return full, waiting + RUNNING_TOKENS * load.calls - held


def _home(id: str, prompt: Prompt) -> bytes:
    """The highest of a prompt's replicas is its home (rendezvous hashing)."""
    return hashlib.blake2b(b"%d %b" % (prompt.home, id.encode()), digest_size=8).digest()


def pace_of(tier: Tier, profile: EngineProfile) -> Pace:
    """What the choice of a replica counts with. vLLM caches prefixes unless it is told not to."""
    engine = tier.engine
    return Pace(
        prefill_tokens_per_s=profile.prefill_tokens_per_s,
        kv_tokens=profile.kv_tokens,
        caches_prefixes=isinstance(engine, VllmEngine)
        and engine.args.get("enable_prefix_caching") is not False,
        room=tier.max_ongoing_requests,
    )
