"""Model a workload's cost for each request, day and month.

Promised: exact. Everything is a `Fraction` from the inputs to the result; nothing is rounded but
the number of replicas, which are whole. A month is 30 days.
Not covered: prices (`core.settings.prices`), where a workload comes from
(`ledger.cost.usage_query`), peaks within a day: `utilisation` is the mean that leaves room for
them.

A request that a cache answers costs nothing. Any other makes `1 + retries` attempts, each at one
of the workload's parts. A part at an API costs its tokens:

    usd = (fresh * price + cached * price + written * price + output * price) / 1,000,000

A self-hosted part costs its replicas, whether they work or not, and its engineering:

    busy_s   = fresh / prefill_per_s + cached * cached_share / prefill_per_s + output / decode_per_s
    replicas = max(min_replicas, ceil(attempts per day * busy_s / 86,400 / utilisation))
    usd/day  = replicas * gpus * gpu_usd_per_hour * 24 + engineering per month / 30
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from core.money import DAYS_PER_MONTH
from core.settings.prices import ApiVersion, HostedVersion, Version

SECONDS_PER_DAY = 86_400
_SECONDS_PER_HOUR = 3_600
_PER_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """Mean tokens of one attempt; `cached_input` and `cache_write` are parts of `input`.

    Raises `ValueError` for less than nothing, and for parts that are more than the whole.
    """

    input: Fraction
    output: Fraction
    cached_input: Fraction = Fraction(0)
    cache_write: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        if min(self.input, self.output, self.cached_input, self.cache_write) < 0:
            raise ValueError("tokens must be 0 or more")
        if self.fresh_input < 0:
            raise ValueError("cached and written input tokens are more than the input tokens")

    @property
    def fresh_input(self) -> Fraction:
        """Input tokens that are neither read from a provider's cache nor written to it."""
        return self.input - self.cached_input - self.cache_write

    @property
    def total(self) -> Fraction:
        """Input and output together."""
        return self.input + self.output


@dataclass(frozen=True, slots=True)
class ModelPart:
    """The `share` in [0, 1] of the attempts that one model gets, and what it costs.

    `min_replicas` is how many replicas of a self-hosted model run at the least.
    """

    model: str
    rates: Version
    tokens: Tokens
    share: Fraction = Fraction(1)
    min_replicas: int = 1


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked for. `hit_rate` in [0, 1] is answered by caches, `retries` are per request.

    Raises `ValueError` when there is no request, or the shares do not add up to 1.
    """

    requests_per_day: Fraction
    parts: tuple[ModelPart, ...]
    hit_rate: Fraction = Fraction(0)
    retries: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        if self.requests_per_day <= 0:
            raise ValueError("requests per day must be above 0")
        if not 0 <= self.hit_rate <= 1:
            raise ValueError("the hit rate must be from 0 to 1")
        if self.retries < 0:
            raise ValueError("retries must be 0 or more")
        if sum(part.share for part in self.parts) != 1 or any(p.share < 0 for p in self.parts):
            raise ValueError("the shares of the parts must add up to 1")

    @property
    def attempts_per_request(self) -> Fraction:
        """How often an engine works for a request, on the mean."""
        return (1 - self.hit_rate) * (1 + self.retries)


@dataclass(frozen=True, slots=True)
class SelfHostedFleet:
    """The replicas that a self-hosted part needs, and what they cost a day."""

    replicas: int
    gpus: int
    gpu_hours_needed: Fraction
    gpu_hours_paid: Fraction
    gpu_usd_per_day: Fraction
    engineering_usd_per_day: Fraction

    @property
    def idle_share(self) -> Fraction:
        """Paid GPU-hours in which nothing is made, as a share of all."""
        return 1 - self.gpu_hours_needed / self.gpu_hours_paid

    @property
    def usd_per_day(self) -> Fraction:
        """GPUs and engineering."""
        return self.gpu_usd_per_day + self.engineering_usd_per_day


@dataclass(frozen=True, slots=True)
class PartCost:
    """One part's day; `fleet` is None for an API."""

    model: str
    attempts_per_day: Fraction
    usd_per_day: Fraction
    fleet: SelfHostedFleet | None


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a workload."""

    requests_per_day: Fraction
    parts: tuple[PartCost, ...]

    @property
    def usd_per_day(self) -> Fraction:
        """All parts."""
        return sum((part.usd_per_day for part in self.parts), Fraction(0))

    @property
    def usd_per_request(self) -> Fraction:
        """The mean cost of a request, over all requests, cached ones included."""
        return self.usd_per_day / self.requests_per_day

    @property
    def usd_per_month(self) -> Fraction:
        """A month of 30 days."""
        return self.usd_per_day * DAYS_PER_MONTH


def cost(workload: Workload) -> Cost:
    """The cost of every part."""
    attempts = workload.requests_per_day * workload.attempts_per_request
    return Cost(
        workload.requests_per_day,
        tuple(_part_cost(part, attempts * part.share) for part in workload.parts),
    )


def api_usd(rates: ApiVersion, tokens: Tokens) -> Fraction:
    """USD of one attempt at an API."""
    prices = rates.tokens
    return (
        tokens.fresh_input * Fraction(prices.fresh_input)
        + tokens.cached_input * Fraction(prices.cached_input)
        + tokens.cache_write * Fraction(prices.cache_write)
        + tokens.output * Fraction(prices.output)
    ) / _PER_MILLION


def busy_s(rates: HostedVersion, tokens: Tokens) -> Fraction:
    """Seconds of one replica that one attempt takes; writing to the prefix cache is free."""
    cached = tokens.cached_input * Fraction(rates.cached_input_share)
    prefill = (tokens.fresh_input + tokens.cache_write + cached) / Fraction(
        rates.prefill_tokens_per_s
    )
    return prefill + tokens.output / Fraction(rates.decode_tokens_per_s)


def fleet(
    rates: HostedVersion, tokens: Tokens, attempts_per_day: Fraction, min_replicas: int = 1
) -> SelfHostedFleet:
    """Whole replicas for so many attempts, at least `min_replicas` (1 or more)."""
    work_s = attempts_per_day * busy_s(rates, tokens)
    replicas = max(min_replicas, ceil(work_s / SECONDS_PER_DAY / Fraction(rates.utilisation)))
    return SelfHostedFleet(
        replicas=replicas,
        gpus=replicas * rates.gpus,
        gpu_hours_needed=work_s * rates.gpus / _SECONDS_PER_HOUR,
        gpu_hours_paid=Fraction(replicas * rates.gpus * 24),
        gpu_usd_per_day=replicas * rates.replica_usd_per_s * SECONDS_PER_DAY,
        engineering_usd_per_day=Fraction(rates.engineering_usd_per_month) / DAYS_PER_MONTH,
    )


def _part_cost(part: ModelPart, attempts_per_day: Fraction) -> PartCost:
    if isinstance(part.rates, ApiVersion):
        usd = attempts_per_day * api_usd(part.rates, part.tokens)
        return PartCost(part.model, attempts_per_day, usd, None)
    made = fleet(part.rates, part.tokens, attempts_per_day, part.min_replicas)
    return PartCost(part.model, attempts_per_day, made.usd_per_day, made)
