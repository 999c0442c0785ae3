"""Choose a call's limits, and read the result of their check.

Promises: pure; a call is refused iff for one of its hard limits spent + reserved + its own worst
case is above the limit; a refusal says which limit, how much of it is gone, and when it resets.
A budget and a rate of the same measure and window share one counter, and the smaller one holds.
Not covered: what the worst case of a call is (`accounts.worst_case`), and the counters themselves
(`accounts.redis_store`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from accounts.keys import Key
from accounts.windows import told
from core.money import usd
from core.settings.accounts import AccountsSettings, Measure, Rules, Window

_TURN_S = 1  # a place or a reservation may come free at any moment


@dataclass(frozen=True, slots=True)
class Payer:
    """The payer of a call; `record` is that of its virtual key, None without one."""

    tenant: str
    key: str
    team: str = ""
    tags: tuple[str, ...] = ()
    record: Key | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """What is asked for or was used: micro-USD, which a credit makes negative, and tokens."""

    usd_micros: int = 0
    tokens: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.usd_micros + other.usd_micros, self.tokens + other.tokens)

    def of(self, measure: Measure) -> int:
        """The part that a limit of `measure` counts; one call is one request and one place."""
        if measure is Measure.USD:
            return self.usd_micros
        return self.tokens if measure is Measure.TOKENS else 1


@dataclass(frozen=True, slots=True)
class Limit:
    """One counter of a tenant, and how far it may go; `hard` or `soft` None is no such bound.

    `kind` is `key`, `tag`, `team` or `tenant`, `name` which of them. `window` None is for places,
    which are held and given back.
    """

    kind: str
    name: str
    measure: Measure
    window: Window | None
    hard: int | None = None
    soft: int | None = None

    @property
    def field(self) -> str:
        """The counter's name among its tenant's; the free part stands last."""
        return f"{self.measure}:{self.window or 'now'}:{self.kind}:{self.name}"

    def shown(self, count: int) -> str:
        """A count of it with its unit."""
        if self.measure is Measure.USD:
            return f"{usd(count)} USD"
        unit = "open requests" if self.measure is Measure.CONCURRENCY else self.measure.value
        return f"{count:,} {unit}"

    def named(self, limit: int) -> str:
        """`10.000000 USD a day of tenant acme`."""
        a_window = f" a {self.window}" if self.window else ""
        return f"{self.shown(limit)}{a_window} of {self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit as it stood before a call: what was spent and reserved, and when it resets."""

    limit: Limit
    spent: int
    held: int
    resets_s: float | None

    def over(self, asked: int, bound: int | None) -> bool:
        """Whether `asked` more would go beyond `bound`."""
        return bound is not None and self.spent + self.held + asked > bound


@dataclass(frozen=True, slots=True)
class LimitRefusal:
    """The first hard limit that a call does not fit into, and by what numbers."""

    standing: LimitState
    asked: int

    @property
    def code(self) -> str:
        """`budget_exceeded`, or `rate_limited` where a minute at most helps."""
        return "budget_exceeded" if self.is_budget else "rate_limited"

    @property
    def is_budget(self) -> bool:
        """Whether it is money, or tokens of more than a minute."""
        limit = self.standing.limit
        long = limit.window not in (None, Window.MINUTE)
        return limit.measure is Measure.USD or (limit.measure is Measure.TOKENS and long)

    @property
    def only_reserved(self) -> bool:
        """Whether it would fit once what is reserved turns out to be nothing."""
        bound = self.standing.limit.hard
        return bound is not None and self.standing.spent + self.asked <= bound

    def retry_after_s(self, now_s: float) -> int:
        """Whole seconds until trying again may help."""
        if self.only_reserved or self.standing.resets_s is None:
            return _TURN_S
        return max(_TURN_S, -int((now_s - self.standing.resets_s) // 1))

    @property
    def words(self) -> str:
        """Which limit, how much, when it resets."""
        standing, limit = self.standing, self.standing.limit
        assert limit.hard is not None
        shown = limit.shown
        if limit.measure is Measure.CONCURRENCY:
            return (
                f"{limit.named(limit.hard)} are allowed, and {standing.held:,} are open. "
                "It resets when one of them ends."
            )
        text = (
            f"The limit of {limit.named(limit.hard)} is reached: {shown(standing.spent)} spent, "
            f"{shown(standing.held)} reserved by open requests, and this request may take up to "
            f"{shown(self.asked)}. It resets at {told(standing.resets_s or 0)}."
        )
        if self.asked > limit.hard:
            text += " This request alone is above the limit: set a smaller max_tokens."
        return text


def limits_of(rules: Rules, kind: str, name: str) -> list[Limit]:
    """A counter for each measure and window that `rules` bound, the smallest bound of each."""
    found: dict[tuple[Measure, Window | None], Limit] = {}

    def add(measure: Measure, window: Window | None, bound: int, *, hard: bool) -> None:
        limit = found.get((measure, window)) or Limit(kind, name, measure, window)
        if hard:
            limit = replace(limit, hard=_smaller(limit.hard, bound))
        else:
            limit = replace(limit, soft=_smaller(limit.soft, bound))
        found[measure, window] = limit

    if rules.requests_per_minute is not None:
        add(Measure.REQUESTS, Window.MINUTE, rules.requests_per_minute, hard=True)
    if rules.concurrency is not None:
        add(Measure.CONCURRENCY, None, rules.concurrency, hard=True)
    if rules.tokens_per_minute is not None:
        add(Measure.TOKENS, Window.MINUTE, rules.tokens_per_minute, hard=True)
    for budget in rules.budgets:
        add(budget.measure, Window(budget.window), budget.limit, hard=budget.kind == "hard")
    return list(found.values())


def applicable(settings: AccountsSettings, payer: Payer) -> tuple[Limit, ...]:
    """Every limit of a call: of its key, its tags, its team and its tenant, in this order."""
    parts: list[tuple[Rules | None, str, str]] = []
    if payer.record is not None:
        parts.append((payer.record.rules, "key", payer.record.id))
    for tag in payer.tags:
        parts.append((_named(settings.tags, payer.tenant, tag), "tag", tag))
    if payer.team:
        parts.append((_named(settings.teams, payer.tenant, payer.team), "team", payer.team))
    own = settings.tenants.get(payer.tenant, settings.default)
    parts.append((own, "tenant", payer.tenant))
    return tuple(
        limit for rules, kind, name in parts if rules for limit in limits_of(rules, kind, name)
    )


def is_without_key(settings: AccountsSettings, payer: Payer) -> bool:
    """Whether no setting and no key names this tenant: its counters expire with their windows."""
    return payer.record is None and payer.tenant not in settings.tenants


def soft_exceeded(standings: Iterable[LimitState], amount: Amount) -> list[LimitState]:
    """The limits whose soft bound a call goes beyond."""
    return [one for one in standings if one.over(amount.of(one.limit.measure), one.limit.soft)]


def budget_left(standings: Iterable[LimitState]) -> float | None:
    """The share in [0, 1] that is left of the tightest hard USD budget; None without one."""
    shares = [
        (one.limit.hard - one.spent - one.held) / one.limit.hard
        for one in standings
        if one.limit.measure is Measure.USD and one.limit.hard
    ]
    return max(0.0, min(shares)) if shares else None


def soft_words(over: Sequence[LimitState]) -> str:
    """The value of the response header, `soft-exceeded; <limit>, <spent>; ...`."""
    told_ = [
        f"{one.limit.named(one.limit.soft)}, {one.limit.shown(one.spent)} spent"
        for one in over
        if one.limit.soft is not None
    ]
    return "; ".join(["soft-exceeded", *told_])


def _smaller(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)


def _named(rules: dict[str, Rules], tenant: str, name: str) -> Rules | None:
    return rules.get(f"{tenant}/{name}") or rules.get(name)
