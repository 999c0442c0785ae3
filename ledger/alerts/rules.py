"""Evaluate the seven alert rules on the figures of their windows.

Promises: pure; each reading is a non-negative value where more is worse, its threshold, and words
for people. A rule that is switched off, or that has nothing to divide by, gives no reading.
Not covered: gathering the figures (`ledger.alerts.figures`), and when a reading becomes an alert
(`ledger.alerts.states`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.money import USD_MICROS_PER_USD
from core.settings.alerts import AlertRules
from ledger.alerts.budgets import NO_BUDGETS, Budgets, SpendBudget, burn_windows
from ledger.alerts.states import Rule, RuleReading

EVERYTHING = "all requests"
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Spend:
    """The figures of one tenant's requests in a window."""

    tenant: str
    requests: int
    usd_micros: int


@dataclass(frozen=True, slots=True)
class Successes:
    """All cost of a window, and how many requests it answered well."""

    usd_micros: int = 0
    requests: int = 0

    @property
    def usd_each(self) -> float:
        """USD for a request that was answered; 0 where none was."""
        return self.usd_micros / USD_MICROS_PER_USD / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Lookups:
    """Requests that the cache was asked for, and those that it answered."""

    hits: int = 0
    requests: int = 0

    @property
    def rate(self) -> float:
        """Hits as a share; 0 where nothing was looked up."""
        return self.hits / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Attempts:
    """Tries on an engine, and those of them that came after one that failed."""

    made: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Ttft:
    """Nearest-rank 95th percentile over a tier's successful streams."""

    tier: str
    streams: int
    p95_s: float


@dataclass(frozen=True, slots=True)
class Baselines:
    """What three rules compare with: the time before their windows."""

    successes: Successes = Successes()
    lookups: Lookups = Lookups()
    mix: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertFigures:
    """What the rules need.

    `burned` has the spending of each window length in seconds that a budget is watched over;
    `mix` is how many decisions of the router went to each tier.
    """

    spend: Sequence[Spend] = ()
    burned: Mapping[float, Sequence[Spend]] = field(default_factory=dict)
    successes: Successes = Successes()
    lookups: Lookups = Lookups()
    mix: Mapping[str, int] = field(default_factory=dict)
    attempts: Attempts = Attempts()
    ttft: Sequence[Ttft] = ()
    before: Baselines = field(default_factory=Baselines)


def readings(
    figures: AlertFigures, rules: AlertRules, budgets: Budgets = NO_BUDGETS
) -> list[RuleReading]:
    """Every reading of the rules that are switched on."""
    found: dict[Rule, Callable[[], Iterator[RuleReading]]] = {
        Rule.SPEND_RATE: lambda: _spend_rate(figures, rules),
        Rule.BUDGET_BURN: lambda: _budget_burn(figures, rules, budgets),
        Rule.COST_PER_SUCCESS: lambda: _cost_per_success(figures, rules),
        Rule.HIT_RATE_FALL: lambda: _hit_rate_fall(figures, rules),
        Rule.ROUTE_MIX_DRIFT: lambda: _route_mix_drift(figures, rules),
        Rule.RETRY_STORM: lambda: _retry_storm(figures, rules),
        Rule.TTFT_P95: lambda: _ttft_p95(figures, rules),
    }
    return [
        reading
        for rule, read in found.items()
        if getattr(rules, rule).enabled
        for reading in read()
    ]


def hold_s(rules: AlertRules) -> dict[Rule, float]:
    """`for_s` of each rule, as `ledger.alerts.states.step` wants it."""
    return {rule: getattr(rules, rule).for_s for rule in Rule}


def divergence_bits(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Jensen-Shannon divergence of two counts, 0 (same shares) to 1 bit (nothing in common).

    J. Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
    Theory 37 (1991). Unlike the population stability index it is finite where a tier has no
    requests. 0 where a side is empty.
    """
    total, total_other = sum(one.values()), sum(other.values())
    if not total or not total_other:
        return 0.0
    bits = 0.0
    for name in sorted(one.keys() | other.keys()):
        p, q = one.get(name, 0) / total, other.get(name, 0) / total_other
        middle = (p + q) / 2
        bits += sum(part / 2 * math.log2(part / middle) for part in (p, q) if part)
    return max(0.0, bits)


def _spend_rate(figures: AlertFigures, rules: AlertRules) -> Iterator[RuleReading]:
    rule = rules.spend_rate
    limits = [(EVERYTHING, rule.usd_per_hour, list(figures.spend))]
    if rule.tenant_usd_per_hour is not None:
        limits += [(one.tenant, rule.tenant_usd_per_hour, [one]) for one in figures.spend]
    for subject, limit, spent in limits:
        rate = _usd(spent) / rule.window_s * _HOUR_S
        count = sum(one.requests for one in spent)
        words = f"spending {rate:.4g} USD an hour (limit {limit:.4g}), {_over(rule.window_s)}"
        yield RuleReading(
            Rule.SPEND_RATE, subject, max(0.0, rate), limit, count, rule.least_requests, words
        )


def _budget_burn(
    figures: AlertFigures, rules: AlertRules, budgets: Budgets
) -> Iterator[RuleReading]:
    rule = rules.budget_burn
    spent = figures.burned
    seen = {one.tenant for found in spent.values() for one in found}
    for tenant, budget in budgets.each(seen):
        pairs = burn_windows(budget.window_s, rule.least_window_s)
        limits = (("fast", rule.fast_burn), ("slow", rule.slow_burn))
        for (name, limit), (long_s, short_s) in zip(limits, pairs, strict=True):
            long = [one for one in spent.get(long_s, ()) if one.tenant == tenant]
            short = [one for one in spent.get(short_s, ()) if one.tenant == tenant]
            burn = min(_burn(long, long_s, budget), _burn(short, short_s, budget))
            whole = f"{budget.usd:.4g} USD in {_span(budget.window_s)}"
            words = (
                f"the budget of {whole} burns {burn:.3g} times as fast as it would just last "
                f"(limit {limit:.3g}), over the last {_span(long_s)} and {_span(short_s)}"
            )
            yield RuleReading(
                Rule.BUDGET_BURN, f"{tenant}, {whole} ({name})", burn, limit,
                sum(one.requests for one in long), rule.least_requests, words,
            )  # fmt: skip


def _burn(spent: Iterable[Spend], window_s: float, budget: SpendBudget) -> float:
    return max(0.0, _usd(spent) / window_s / (budget.usd / budget.window_s))


def _cost_per_success(figures: AlertFigures, rules: AlertRules) -> Iterator[RuleReading]:
    rule, now, before = rules.cost_per_success, figures.successes, figures.before.successes
    cost = f"a successful request costs {now.usd_each:.4g} USD, {_over(rule.window_s)}"
    if rule.usd is not None and now.requests:
        yield RuleReading(
            Rule.COST_PER_SUCCESS, EVERYTHING, max(0.0, now.usd_each), rule.usd,
            now.requests, rule.least_requests, f"{cost} (limit {rule.usd:.4g})",
        )  # fmt: skip
    if rule.ratio is not None and now.requests and before.usd_each > 0:
        ratio = max(0.0, now.usd_each / before.usd_each)
        yield RuleReading(
            Rule.COST_PER_SUCCESS, f"{EVERYTHING}, against before", ratio, rule.ratio,
            min(now.requests, before.requests), rule.least_requests,
            f"{cost}: {ratio:.3g} times the {before.usd_each:.4g} of the "
            f"{_span(rule.baseline_s)} before (limit {rule.ratio:.3g})",
        )  # fmt: skip


def _hit_rate_fall(figures: AlertFigures, rules: AlertRules) -> Iterator[RuleReading]:
    rule, now, before = rules.hit_rate_fall, figures.lookups, figures.before.lookups
    if now.requests and before.requests:
        fall = 100 * max(0.0, before.rate - now.rate)
        yield RuleReading(
            Rule.HIT_RATE_FALL, EVERYTHING, fall, rule.points,
            min(now.requests, before.requests), rule.least_requests,
            f"the cache answers {now.rate:.1%} of requests, {_over(rule.window_s)}, after "
            f"{before.rate:.1%} in the {_span(rule.baseline_s)} before: {fall:.1f} points less "
            f"(limit {rule.points:.3g})",
        )  # fmt: skip


def _route_mix_drift(figures: AlertFigures, rules: AlertRules) -> Iterator[RuleReading]:
    rule, now, before = rules.route_mix_drift, figures.mix, figures.before.mix
    count = min(sum(now.values()), sum(before.values()))
    if count:
        bits = divergence_bits(now, before)
        yield RuleReading(
            Rule.ROUTE_MIX_DRIFT, EVERYTHING, bits, rule.divergence, count, rule.least_requests,
            f"the router sends {_shares(now)}, {_over(rule.window_s)}, after {_shares(before)} in "
            f"the {_span(rule.baseline_s)} before: {bits:.3f} bits apart "
            f"(limit {rule.divergence:.3g})",
        )  # fmt: skip


def _retry_storm(figures: AlertFigures, rules: AlertRules) -> Iterator[RuleReading]:
    rule, attempts = rules.retry_storm, figures.attempts
    if attempts.made:
        share = attempts.repeated / attempts.made
        words = (
            f"{share:.1%} of attempts repeat a failed one (limit {rule.share:.1%}), "
            f"{_over(rule.window_s)}"
        )
        yield RuleReading(
            Rule.RETRY_STORM, EVERYTHING, share, rule.share, attempts.made, rule.least_attempts,
            words,
        )  # fmt: skip


def _ttft_p95(figures: AlertFigures, rules: AlertRules) -> Iterator[RuleReading]:
    rule = rules.ttft_p95
    for one in figures.ttft:
        words = (
            f"the first token takes {one.p95_s:.3g} s at the 95th percentile "
            f"(limit {rule.seconds:.3g}), {_over(rule.window_s)}"
        )
        yield RuleReading(
            Rule.TTFT_P95, f"tier {one.tier}", one.p95_s, rule.seconds, one.streams,
            rule.least_streams, words,
        )  # fmt: skip


def _usd(spent: Iterable[Spend]) -> float:
    return sum(one.usd_micros for one in spent) / USD_MICROS_PER_USD


def _shares(mix: Mapping[str, int]) -> str:
    total = sum(mix.values())
    return ", ".join(f"{count / total:.0%} to {tier}" for tier, count in sorted(mix.items()))


def _over(window_s: float) -> str:
    return f"over the last {_span(window_s)}"


def _span(seconds: float) -> str:
    """A length of time in its largest whole unit, as in `15 min`."""
    for unit, length_s in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length_s and not seconds % length_s:
            return "1 day" if seconds == 86_400 else f"{seconds / length_s:g} {unit}"
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:g} s"
