"""A report's rows: what the requests of one group took, their cost and their outcomes.

Promises: pure; every share and the cost per successful answer follow from the counts of the row.
The cost of a group is that of all attempts of its requests: retries, escalations, failed and
cancelled ones, judges and checks.
Not covered: gathering (`ledger.reports.queries`) and printing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.call import Usage
from core.money import usd

BY = (
    "tenant", "key", "team", "tag", "route", "tier", "model", "model-version", "router-version",
    "prompt-version", "price-version", "kind", "cache", "lane", "day",
)  # fmt: skip

HOW_GROUPED = (
    "A request is in the group of the line that answered it, with the cost of all its attempts."
)
HOW_BY_TAG = (
    "A request with several tags is in each of their groups once, so the groups add up to more "
    "than the total, which counts it once."
)
HOW_BY_KIND = (
    "By kind, attempts, tokens and cost are those of the lines of that kind, and requests those "
    "that such a line answered; a cost per answer would compare different requests and is left out."
)
CACHE_COUNTERFACTUAL = (
    "Cache savings compare with generating every answer of a cache hit or a joined flight again, "
    "by the tier that gave it and at its price, less what the checks of hits cost."
)
ROUTING_COUNTERFACTUAL = (
    "Routing savings compare with sending every request once to the most expensive tier at its "
    "price, with the same token counts; answers from the cache count as if their own tier had "
    "generated them, and attempts beside the served one would not have been made."
)


@dataclass(frozen=True, slots=True)
class Spread:
    """Nearest-rank percentiles in seconds, over successful requests; None when there is none."""

    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One group; `usage` is what engines processed.

    `exact`, `semantic` and `joined` are requests answered so; `escalated` and `retried` are
    requests in which that happened at least once, a fallback to another tier being a retry.
    """

    group: str
    requests: int
    successes: int
    attempts: int
    usage: Usage
    undelivered_tokens: int
    cost_usd_micros: int
    exact: int
    semantic: int
    joined: int
    escalated: int
    retried: int
    ttft: Spread = field(default=Spread())
    total: Spread = field(default=Spread())
    tpot: Spread = field(default=Spread())
    by_lines: bool = False

    @property
    def cost_per_success_usd_micros(self) -> float | None:
        """Cost of all attempts for each successful answer; None without one, and by kind."""
        if self.by_lines or not self.successes:
            return None
        return self.cost_usd_micros / self.successes

    def as_dict(self) -> dict[str, object]:
        """All columns, flat; shares are of the group's requests, None when it has none."""
        return {
            "group": self.group,
            "requests": self.requests,
            "successes": self.successes,
            "attempts": self.attempts,
            "fresh_input_tokens": self.usage.fresh_input_tokens,
            "cached_input_tokens": self.usage.cached_input_tokens,
            "output_tokens": self.usage.output_tokens,
            "undelivered_tokens": self.undelivered_tokens,
            "cost_usd_micros": self.cost_usd_micros,
            "cost_usd": usd(self.cost_usd_micros),
            "cost_per_success_usd_micros": self.cost_per_success_usd_micros,
            "success_share": self._share(self.successes),
            "hit_share": self._share(self.exact + self.semantic + self.joined),
            "exact_hit_share": self._share(self.exact),
            "semantic_hit_share": self._share(self.semantic),
            "joined_share": self._share(self.joined),
            "escalation_share": self._share(self.escalated),
            "retry_share": self._share(self.retried),
            "ttft_p50_s": self.ttft.p50_s,
            "ttft_p95_s": self.ttft.p95_s,
            "ttft_p99_s": self.ttft.p99_s,
            "total_p50_s": self.total.p50_s,
            "total_p95_s": self.total.p95_s,
            "total_p99_s": self.total.p99_s,
            "tpot_p50_s": self.tpot.p50_s,
            "tpot_p95_s": self.tpot.p95_s,
        }

    def _share(self, requests: int) -> float | None:
        return requests / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class Savings:
    """What was saved, apart; both may be negative, and together they are the lines' savings.

    `unpriced` hits and joined flights are those whose own tier's price is not known: the cache is
    then said to have saved nothing by them, and routing has all of it.
    """

    cache_usd_micros: int
    routing_usd_micros: int
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows by `by` ("" for none), dearest first or by day, and the row of all requests."""

    by: str
    rows: Sequence[ReportRow]
    total: ReportRow
    savings: Savings

    @property
    def notes(self) -> tuple[str, ...]:
        """How the groups and savings are to be read."""
        special = {"tag": (HOW_BY_TAG,), "kind": (HOW_BY_KIND,)}.get(self.by, ())
        grouped = (HOW_GROUPED, *special) if self.by else ()
        priced = (CACHE_COUNTERFACTUAL, ROUTING_COUNTERFACTUAL)
        if not self.savings.unpriced:
            return grouped + priced
        return (
            *grouped,
            *priced,
            f"The price of {self.savings.unpriced} answers that were given again is not known; "
            "what they saved is in the routing savings.",
        )

    def as_dict(self) -> dict[str, object]:
        """JSON-able values."""
        savings = self.savings
        return {
            "by": self.by or None,
            "rows": [row.as_dict() for row in self.rows],
            "total_row": self.total.as_dict(),
            "cache_saved_usd_micros": savings.cache_usd_micros,
            "routing_saved_usd_micros": savings.routing_usd_micros,
            "unpriced_hits": savings.unpriced,
            "notes": list(self.notes),
        }
