"""Add up the ledger's lines of a time span.

Promised: pure sums over figures that a store gathered; a request is one distinct request id, its
outcome is that of its last attempt that answered the client, and attempts are counted apart.
Not covered: gathering (`ledger.path.sql_store`) and printing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from core.call import Usage
from core.ledger_line import Kind
from core.money import usd

COUNTERFACTUAL = (
    "Savings compare the cost with sending every request once to the most expensive tier at its "
    "price, with the same token counts and the same cached input tokens; a cache hit would have "
    "cost its answer's tokens there, and attempts beside the served one would not have been made."
)

# Beside the request's own path: they cost money but do not make or answer a request.
ASIDE = (Kind.SHADOW, Kind.CLASSIFIER, Kind.CREDIT)
# Answers that were generated for another request; their tokens are not made again.
GIVEN_AGAIN = (Kind.CACHE_HIT, Kind.JOINED)
# What a client's answer can come from; a request's outcome and waiting time are theirs.
ANSWERING = (
    Kind.ANSWER,
    Kind.ESCALATION,
    Kind.RETRY,
    Kind.FALLBACK,
    Kind.CACHE_HIT,
    Kind.JOINED,
    Kind.CANCELLED,
)


@dataclass(frozen=True, slots=True)
class AttemptGroup:
    """Sums over all attempts of one tier and kind."""

    tier: str
    kind: str
    attempts: int
    estimated: int
    usage: Usage
    cost_usd_micros: int
    saved_usd_micros: int


@dataclass(frozen=True, slots=True)
class RequestGroup:
    """How many requests ended in this outcome, from this cache result, at this tier."""

    outcome: str
    cache: str
    tier: str
    requests: int


@dataclass(frozen=True, slots=True)
class Waits:
    """Nearest-rank percentiles over successful requests; None when there is none."""

    p50_s: float | None = None
    p95_s: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What a store gathers for one report; `since_s` is wall time, None for all time."""

    since_s: float | None
    attempts: Sequence[AttemptGroup]
    requests: Sequence[RequestGroup]
    ttft: Waits
    total: Waits


@dataclass(frozen=True, slots=True)
class TierShare:
    """One tier's part: requests it served last, and all attempts made on it."""

    requests: int
    attempts: int
    usage: Usage
    cost_usd_micros: int
    saved_usd_micros: int


@dataclass(frozen=True, slots=True)
class Report:
    """The bill and what it bought. `usage` is what engines processed; `replayed` what caches gave.

    `estimated_attempts` are those whose tokens the engine did not report.
    """

    since_s: float | None
    requests: int
    attempts: int
    estimated_attempts: int
    by_outcome: dict[str, int]
    by_kind: dict[str, int]
    by_cache: dict[str, int]
    by_tier: dict[str, TierShare]
    usage: Usage
    replayed: Usage
    cost_usd_micros: int
    saved_usd_micros: int
    ttft: Waits
    total: Waits
    counterfactual: str = field(default=COUNTERFACTUAL)

    @property
    def always_large_usd_micros(self) -> int:
        """What the counterfactual would have cost."""
        return self.cost_usd_micros + self.saved_usd_micros

    @property
    def saved_ratio(self) -> float:
        """Savings as a share of the counterfactual; 0 when that is 0."""
        whole = self.always_large_usd_micros
        return self.saved_usd_micros / whole if whole else 0.0

    @property
    def cache_hits(self) -> int:
        """Requests answered from a cache."""
        return self.by_cache.get("exact", 0) + self.by_cache.get("semantic", 0)

    @property
    def cache_hit_ratio(self) -> float:
        """Hits as a share of all requests; 0 when there is none."""
        return self.cache_hits / self.requests if self.requests else 0.0

    def as_dict(self) -> dict[str, object]:
        """All fields and derived facts as JSON-able values; USD beside the micro-USD."""
        return asdict(self) | {
            "always_large_usd_micros": self.always_large_usd_micros,
            "saved_ratio": self.saved_ratio,
            "cache_hits": self.cache_hits,
            "cache_hit_ratio": self.cache_hit_ratio,
            "cost_usd": usd(self.cost_usd_micros),
            "saved_usd": usd(self.saved_usd_micros),
            "always_large_usd": usd(self.always_large_usd_micros),
        }


def summarise(figures: Figures) -> Report:
    """Add the groups up."""
    attempts, requests = figures.attempts, figures.requests
    made = [group for group in attempts if group.kind not in GIVEN_AGAIN]
    hits = [group for group in attempts if group.kind in GIVEN_AGAIN]
    tiers = sorted({group.tier for group in attempts} | {group.tier for group in requests})
    return Report(
        since_s=figures.since_s,
        requests=sum(group.requests for group in requests),
        attempts=sum(group.attempts for group in attempts),
        estimated_attempts=sum(group.estimated for group in attempts),
        by_outcome=_count((group.outcome, group.requests) for group in requests),
        by_kind=_count((group.kind, group.attempts) for group in attempts),
        by_cache=_count((group.cache, group.requests) for group in requests),
        by_tier={tier: _share(tier, attempts, requests) for tier in tiers},
        usage=_usage(made),
        replayed=_usage(hits),
        cost_usd_micros=sum(group.cost_usd_micros for group in attempts),
        saved_usd_micros=sum(group.saved_usd_micros for group in attempts),
        ttft=figures.ttft,
        total=figures.total,
    )


def _share(
    tier: str, attempts: Sequence[AttemptGroup], requests: Sequence[RequestGroup]
) -> TierShare:
    own = [group for group in attempts if group.tier == tier]
    return TierShare(
        requests=sum(group.requests for group in requests if group.tier == tier),
        attempts=sum(group.attempts for group in own),
        usage=_usage([group for group in own if group.kind not in GIVEN_AGAIN]),
        cost_usd_micros=sum(group.cost_usd_micros for group in own),
        saved_usd_micros=sum(group.saved_usd_micros for group in own),
    )


def _usage(groups: Sequence[AttemptGroup]) -> Usage:
    return Usage(
        sum(group.usage.fresh_input_tokens for group in groups),
        sum(group.usage.cached_input_tokens for group in groups),
        sum(group.usage.output_tokens for group in groups),
    )


def _count(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name, number in pairs:
        counts[name] += number
    return dict(sorted(counts.items()))
