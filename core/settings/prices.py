"""The price table: the price of each model's tokens, its first day and its source.

Promised: a table is frozen and checked when it is read; `PriceTable.at` is pure and gives the price
of a moment with a version that changes whenever a number does. Days are UTC.
Not covered: reading the clock, and what a bill adds up to (`ledger.cost.model`,
`ledger.reports.reprice`).

A self-hosted model has no token prices of its own. They follow from what its GPUs cost:

    usd per token = gpu_usd_per_hour * gpus / 3600 / tokens_per_s / utilisation

Idle time is in them, since the hours are paid whether or not they are used: at a utilisation of
0.5 each token carries the cost of as much idling as work. `engineering_usd_per_month` is not in
them: it does not grow with tokens, and `ledger.cost.model` adds it to the day.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from core.money import Price
from core.settings.base import Frozen
from core.settings.yaml_file import read

_PER_MILLION = 1_000_000
_PLACES = Decimal("0.000001")


class NoPrice(LookupError):
    """A model that the table does not have, or a day before its first version."""


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """USD per million tokens of each kind.

    `cache_write` is for prompt tokens that a provider stores for later; the engines here tell no
    such tokens, so that only `ledger.cost.model` uses it.
    """

    fresh_input: Decimal
    cached_input: Decimal
    cache_write: Decimal
    output: Decimal

    def price(self, version: str) -> Price:
        """The same as the noun that costs a `Usage`."""
        return Price(self.fresh_input, self.cached_input, self.output, version)


def _is_a_day(given: object) -> object:
    """Pydantic would take a number for seconds since 1970."""
    if isinstance(given, bool | int | float):
        raise ValueError("must be a day such as 2024-01-31")
    return given


Day = Annotated[date, BeforeValidator(_is_a_day)]


class _Dated(Frozen):
    """A version: in force from midnight UTC of `from` until the next one begins."""

    starts: Day = Field(alias="from")
    source: str = Field(min_length=1)

    @property
    def starts_s(self) -> float:
        """The first second in force, wall time."""
        return datetime.combine(self.starts, time(), UTC).timestamp()


class ApiVersion(_Dated):
    """What a provider charges in USD per million tokens.

    Cached input and cache writes cost what fresh input does unless they are given.
    """

    input_usd_per_million_tokens: Decimal = Field(ge=0)
    cached_input_usd_per_million_tokens: Decimal | None = Field(None, ge=0)
    cache_write_usd_per_million_tokens: Decimal | None = Field(None, ge=0)
    output_usd_per_million_tokens: Decimal = Field(ge=0)

    @property
    def tokens(self) -> TokenPrices:
        """The prices, with what was left out filled in."""
        fresh = self.input_usd_per_million_tokens
        cached = self.cached_input_usd_per_million_tokens
        write = self.cache_write_usd_per_million_tokens
        return TokenPrices(
            fresh,
            fresh if cached is None else cached,
            fresh if write is None else write,
            self.output_usd_per_million_tokens,
        )


class HostedVersion(_Dated):
    """What a self-hosted model's GPUs cost, and what one replica makes of them.

    `gpus` are those of one replica. `prefill_tokens_per_s` and `decode_tokens_per_s` are of one
    replica that does nothing else, in the batches it is served with; `throughput_source` says where
    they were measured, or what is assumed. `cached_input_share` is the work of a prompt token from
    the prefix cache, as a share of a fresh one's. `utilisation` is the share of the paid hours in
    which replicas work.
    """

    gpu_usd_per_hour: Decimal = Field(ge=0)
    gpus: int = Field(ge=1)
    prefill_tokens_per_s: Decimal = Field(gt=0)
    decode_tokens_per_s: Decimal = Field(gt=0)
    throughput_source: str = Field(min_length=1)
    cached_input_share: Decimal = Field(Decimal("0.1"), ge=0, le=1)
    utilisation: Decimal = Field(gt=0, le=1)
    engineering_usd_per_month: Decimal = Field(Decimal(0), ge=0)

    @property
    def replica_usd_per_s(self) -> Fraction:
        """What one replica costs for each second, at work or idle."""
        return Fraction(self.gpu_usd_per_hour) * self.gpus / 3600

    @property
    def tokens(self) -> TokenPrices:
        """The prices that follow, idle time included, rounded half up to 6 decimals."""
        paid = self.replica_usd_per_s / Fraction(self.utilisation) * _PER_MILLION
        fresh = paid / Fraction(self.prefill_tokens_per_s)
        cached = fresh * Fraction(self.cached_input_share)
        output = paid / Fraction(self.decode_tokens_per_s)
        return TokenPrices(_decimal(fresh), _decimal(cached), _decimal(fresh), _decimal(output))


Version = ApiVersion | HostedVersion
_V = TypeVar("_V", ApiVersion, HostedVersion)


def _in_order(versions: tuple[_V, ...]) -> tuple[_V, ...]:
    for before, after in pairwise(versions):
        if after.starts <= before.starts:
            raise ValueError(
                f"versions must be listed by day, each day once: {after.starts} stands after "
                f"{before.starts}"
            )
    return versions


class ApiModel(Frozen):
    """A model that is paid by the token."""

    kind: Literal["api"]
    versions: Annotated[tuple[ApiVersion, ...], Field(min_length=1), AfterValidator(_in_order)]


class HostedModel(Frozen):
    """A model that is paid by the GPU-hour."""

    kind: Literal["self_hosted"]
    versions: Annotated[tuple[HostedVersion, ...], Field(min_length=1), AfterValidator(_in_order)]


PricedModel = Annotated[ApiModel | HostedModel, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class _Schedule:
    """One model's versions, ready to be looked up; `starts_s` rises."""

    starts_s: tuple[float, ...]
    versions: tuple[Version, ...]
    prices: tuple[Price, ...]


class PriceTable(Frozen):
    """Every model's versions. Looking up costs a binary search over a few numbers."""

    models: dict[str, PricedModel] = Field(min_length=1)

    @cached_property
    def _schedules(self) -> dict[str, _Schedule]:
        """Worked out once; a private attribute of pydantic's takes ten times as long to read."""
        return {name: _schedule(name, model.versions) for name, model in self.models.items()}

    def at(self, model: str, wall_s: float) -> Price:
        """The price in force at `wall_s`; raises `NoPrice`."""
        found = self._schedules.get(model) or self._unknown(model)
        return found.prices[self._place(model, found, wall_s)]

    def version_at(self, model: str, wall_s: float) -> Version:
        """The whole entry in force at `wall_s`; raises `NoPrice`."""
        found = self._schedules.get(model) or self._unknown(model)
        return found.versions[self._place(model, found, wall_s)]

    def versions_of(self, model: str) -> tuple[str, ...]:
        """The names of a model's versions, oldest first; raises `NoPrice`."""
        found = self._schedules.get(model) or self._unknown(model)
        return tuple(price.version for price in found.prices)

    def _place(self, model: str, found: _Schedule, wall_s: float) -> int:
        place = bisect_right(found.starts_s, wall_s) - 1
        if place < 0:
            day = datetime.fromtimestamp(wall_s, UTC).date()
            first = found.versions[0].starts
            raise NoPrice(f"{model} has no price on {day}: its first version is from {first}")
        return place

    def _unknown(self, model: str) -> _Schedule:
        raise NoPrice(f"No price for {model!r}; the table has {', '.join(sorted(self.models))}")


def load_prices(path: Path) -> PriceTable:
    """Read and check a price table; raises `SettingsError` with every problem in it."""
    return read(path, PriceTable, "models")


def _schedule(name: str, versions: Sequence[Version]) -> _Schedule:
    prices = []
    for version in versions:
        tokens = version.tokens
        prices.append(tokens.price(f"{name}@{version.starts}.{_digest(tokens)}"))
    starts_s = tuple(version.starts_s for version in versions)
    return _Schedule(starts_s, tuple(versions), tuple(prices))


def _digest(tokens: TokenPrices) -> str:
    """Tells an entry that was corrected in place from what it was; `2.5` is `2.50`."""
    numbers = (tokens.fresh_input, tokens.cached_input, tokens.cache_write, tokens.output)
    told = " ".join(str(Fraction(number)) for number in numbers)
    return hashlib.sha256(told.encode()).hexdigest()[:6]


def _decimal(exact: Fraction) -> Decimal:
    scaled = Decimal(exact.numerator) / Decimal(exact.denominator)
    return scaled.quantize(_PLACES, rounding=ROUND_HALF_UP)
