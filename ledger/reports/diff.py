"""Attribute the change of an answer's cost between two versions or spans to causes.

Promises: pure and exact. Effects are rational numbers that sum to the difference without a
remainder; swapping the sides negates each; a factor that did not change has none.
Not covered: why a factor changed, and whether the difference is more than chance.

With a side's levels (shares, means and rates), the cost of a successful answer is

    requests / successes * ((1 - h) * sum_t (m_t * k1_t + e_t * k2_t) + sum_t a_t * k3_t + s)

h is the share of requests that no engine worked for, m_t of the others the share that began at
tier t, e_t their further attempts and a_t all requests' judges and checks at tier t, k the cost of
such a line: its tokens times their rates. s is what shares of joined generations do not cancel
out. A factor's effect is its Shapley value in the game "which factors already have the second
side's level": the mean, over all orders of changing them, of what its change adds (Shorrocks 2013,
doi 10.1007/s10888-011-9214-z; for differences in time, Albrecht, François and Schoors 2002, doi
10.1016/S0301-4215(01)00131-8).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from functools import cache
from itertools import combinations
from math import factorial

from core.errors import HansomError

ZERO = Fraction(0)
Part = tuple[str, str]  # role, tier


class Factor(StrEnum):
    """What a cost per answer is made of."""

    PRICE = "price"
    MIX = "mix"
    INPUT = "input tokens"
    OUTPUT = "output tokens"
    CACHE = "cache"
    ATTEMPTS = "attempts"
    CHECKS = "checks"
    FAILURES = "failures"


FIRST, EXTRA, ASIDE = "first", "extra", "aside"


@dataclass(frozen=True, slots=True)
class DiffCell:
    """All lines of one role at one tier: tokens, and the micro-USD of each kind of token.

    Tokens and costs are (fresh input, cached input, output); `rest_usd_micros` is what no token
    explains. The costs add up to the lines' cost.
    """

    lines: int
    tokens: tuple[int, int, int]
    costs_usd_micros: tuple[Fraction, Fraction, Fraction]
    rest_usd_micros: Fraction = ZERO

    @property
    def cost_usd_micros(self) -> Fraction:
        """What all of its lines cost."""
        return sum(self.costs_usd_micros, self.rest_usd_micros)


@dataclass(frozen=True, slots=True)
class Side:
    """The requests of one version or span. `worked` are those that an engine worked for.

    `cells` are by role and tier: `first` the attempt that a worked request began with, `extra` its
    retries, escalations and fallbacks, `aside` judges and checks. `shared_usd_micros` are the
    shares and credits of joined generations.
    """

    name: str
    requests: int
    successes: int
    worked: int
    cells: Mapping[Part, DiffCell] = field(default_factory=dict)
    shared_usd_micros: Fraction = ZERO

    @property
    def cost_usd_micros(self) -> Fraction:
        """What all requests cost."""
        return sum((cell.cost_usd_micros for cell in self.cells.values()), self.shared_usd_micros)

    @property
    def per_answer_usd_micros(self) -> Fraction:
        """Cost of all requests for each successful answer."""
        return self.cost_usd_micros / self.successes


@dataclass(frozen=True, slots=True)
class Diff:
    """Two sides and, by factor, what its change added to the cost of a successful answer."""

    before: Side
    after: Side
    effects_usd_micros: Mapping[Factor, Fraction]

    @property
    def change_usd_micros(self) -> Fraction:
        """The difference that the effects sum to."""
        return self.after.per_answer_usd_micros - self.before.per_answer_usd_micros


@dataclass(frozen=True, slots=True)
class _Levels:
    """A side as the formula sees it; parts that a side has not are as on the other side."""

    requests_per_success: Fraction
    worked_share: Fraction
    shared: Fraction
    lines: Mapping[Part, Fraction]
    tokens: Mapping[Part, tuple[Fraction, Fraction, Fraction]]
    rates: Mapping[Part, tuple[Fraction, Fraction, Fraction]]
    rest: Mapping[Part, Fraction]


def compare(before: Side, after: Side) -> Diff:
    """Decompose the difference; raises `HansomError` for a side without a successful answer."""
    for side in (before, after):
        if not side.successes:
            raise HansomError(f"{side.name} has no successful answer, so no cost of one.")
    sides = _levels(before, after), _levels(after, before)

    @cache
    def cost(changed: frozenset[Factor]) -> Fraction:
        return _cost(lambda factor: sides[factor in changed])

    return Diff(before, after, {factor: _shapley(cost, factor) for factor in Factor})


def _shapley(cost: Callable[[frozenset[Factor]], Fraction], factor: Factor) -> Fraction:
    others = [other for other in Factor if other is not factor]
    orders = factorial(len(Factor))
    effect = ZERO
    for size in range(len(others) + 1):
        weight = Fraction(factorial(size) * factorial(len(others) - size), orders)
        for earlier in combinations(others, size):
            changed = frozenset(earlier)
            effect += weight * (cost(changed | {factor}) - cost(changed))
    return effect


def _cost(of: Callable[[Factor], _Levels]) -> Fraction:
    """The formula of this module, each factor at the level that `of` gives."""
    often = {
        FIRST: of(Factor.MIX).lines,
        EXTRA: of(Factor.ATTEMPTS).lines,
        ASIDE: of(Factor.CHECKS).lines,
    }
    inputs, outputs, price = of(Factor.INPUT), of(Factor.OUTPUT), of(Factor.PRICE)
    worked = checked = ZERO
    for part, (fresh_rate, cached_rate, output_rate) in price.rates.items():
        fresh, cached, _ = inputs.tokens[part]
        line = fresh * fresh_rate + cached * cached_rate
        line += outputs.tokens[part][2] * output_rate + price.rest[part]
        role, _ = part
        if role == ASIDE:
            checked += often[role][part] * line
        else:
            worked += often[role][part] * line
    hits = of(Factor.CACHE)
    per_request = hits.worked_share * worked + checked + hits.shared
    return of(Factor.FAILURES).requests_per_success * per_request


def _levels(side: Side, other: Side) -> _Levels:
    parts = [*side.cells, *(part for part in other.cells if part not in side.cells)]
    return _Levels(
        requests_per_success=Fraction(side.requests, side.successes),
        worked_share=Fraction(side.worked, side.requests),
        shared=side.shared_usd_micros / side.requests,
        lines={part: _lines(side, other, part) for part in parts},
        tokens={part: _mean_tokens(_cell(side, other, part)) for part in parts},
        rates={part: _rates(side, other, part) for part in parts},
        rest={part: _rest(_cell(side, other, part)) for part in parts},
    )


def _lines(side: Side, other: Side, part: Part) -> Fraction:
    """Lines of a part for each request that could have had one."""
    if part[0] == ASIDE:
        whole = side.requests
    elif side.worked:
        whole = side.worked
    else:
        side, whole = other, other.worked
    return Fraction(side.cells[part].lines, whole) if part in side.cells else ZERO


def _cell(side: Side, other: Side, part: Part) -> DiffCell:
    return side.cells[part] if part in side.cells else other.cells[part]


def _mean_tokens(cell: DiffCell) -> tuple[Fraction, Fraction, Fraction]:
    fresh, cached, output = cell.tokens
    return Fraction(fresh, cell.lines), Fraction(cached, cell.lines), Fraction(output, cell.lines)


def _rest(cell: DiffCell) -> Fraction:
    return cell.rest_usd_micros / cell.lines


def _rates(side: Side, other: Side, part: Part) -> tuple[Fraction, Fraction, Fraction]:
    """Micro-USD for a token of each kind; a kind that a side has none of costs as on the other."""
    own, theirs = _cell(side, other, part), _cell(other, side, part)

    def rate(at: int) -> Fraction:
        for cell in (own, theirs):
            if cell.tokens[at]:
                return cell.costs_usd_micros[at] / cell.tokens[at]
        return ZERO

    return rate(0), rate(1), rate(2)
