"""Decide which requests may be answered from the exact cache and which answers are stored.

Promised: a request whose answer is meant to vary is never looked up unless its caller or the
settings ask for it; one that offers tools only where the settings allow it; and only complete
answers are kept. All of it is pure.
Not covered: budgets, and semantic hits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import BadRequest
from core.parameters import Parameters
from core.settings.cache import CacheRules

HEADER = "x-hansom-cache"
DEFAULT = CacheRules()

# `length` is an answer the same request would get again: the output limit is part of the key, or
# of the policy version when the gateway set it. What was cut by a deadline or a client that left
# ends in `abort` or in nothing, and is not kept.
FINISHED = frozenset({"stop", "length", "tool_calls", "function_call"})


@dataclass(frozen=True, slots=True)
class Directives:
    """What the caller's headers say. `opted` is None when `x-hansom-cache` is absent.

    `max_age_s`: an older answer is not wanted; None when any will do.
    """

    opted: bool | None = None
    no_cache: bool = False
    no_store: bool = False
    max_age_s: int | None = None


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether to look up, whether to store, and why; `reason` is one of a fixed few phrases."""

    lookup: bool
    store: bool
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """What must be known of an answer to keep it: HTTP status, each choice's end, its size."""

    status: int
    finish_reasons: Sequence[str | None]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Storable:
    """Whether an answer may be kept, and why."""

    store: bool
    reason: str


def directives(headers: Mapping[str, str]) -> Directives:
    """Read `x-hansom-cache: on|off` and `Cache-Control: no-store, no-cache, max-age=N`.

    `headers` ignores case or has lower-case names. Other Cache-Control words are ignored, as
    HTTP asks. Raises `BadRequest` for another value of `x-hansom-cache`: a mistyped `off` must
    not be answered from the cache. A `max-age` that is no number counts as 0: staleness is what
    its sender wants to avoid.
    """
    wish = headers.get(HEADER)
    opted = None
    if wish is not None:
        opted = {"on": True, "off": False}.get(wish.strip().lower())
        if opted is None:
            raise BadRequest(f"`{HEADER}` must be `on` or `off` (got {wish!r}).", param=HEADER)
    words = {word.strip().lower() for word in headers.get("cache-control", "").split(",")}
    ages_s = [_seconds(word) for word in words if word.startswith("max-age=")]
    age_s = min(ages_s, default=None)
    no_cache = "no-cache" in words or age_s == 0
    return Directives(opted, no_cache, "no-store" in words, age_s or None)


def _seconds(word: str) -> int:
    number = word.partition("=")[2].strip('" ')
    return int(number) if number.isascii() and number.isdigit() else 0


def eligible(asked: Parameters, wish: Directives, rules: CacheRules = DEFAULT) -> Eligibility:
    """Decide for one request; an `off` or a `no-store` outweighs an `on`."""
    if not rules.exact:
        return Eligibility(False, False, "switched off")
    if wish.opted is False:
        return Eligibility(False, False, "opted out")
    if wish.no_store:
        return Eligibility(False, False, "no-store")
    if not rules.tool_calls and asked.tools:
        # A tool call is usually about the state of the world at this moment, or changes it.
        return Eligibility(False, False, "tools")
    if not wish.opted and (refusal := _refusal(asked, rules)):
        return Eligibility(False, False, refusal)
    if wish.no_cache:
        return Eligibility(False, True, "no-cache")
    if asked.usage_per_chunk:
        # A replay has the usage of the whole answer only.
        return Eligibility(False, True, "usage per chunk")
    return Eligibility(True, True, "opted in" if wish.opted else _why(asked))


def storable(facts: AnswerFacts, *, max_bytes: int) -> Storable:
    """Decide for one complete answer of `facts.size_bytes` bytes."""
    if facts.status != 200:
        return Storable(False, "not a success")
    if not facts.finish_reasons or not FINISHED.issuperset(facts.finish_reasons):
        return Storable(False, "not complete")
    if facts.size_bytes > max_bytes:
        return Storable(False, "too large")
    return Storable(True, "complete")


def _refusal(asked: Parameters, rules: CacheRules) -> str | None:
    """Why a request that did not opt in stays out, or None."""
    if asked.choices > 1:
        return "several choices"
    if not rules.sampled and asked.temperature != 0:
        # Absent is not 0: the engine then takes the model's own default.
        return "not deterministic"
    return None


def _why(asked: Parameters) -> str:
    return "deterministic" if asked.temperature == 0 else "sampled"
