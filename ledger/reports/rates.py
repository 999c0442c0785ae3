"""Find the price of each kind of token at a tier under a price version.

Promises: pure. A price that is known is taken as it is. Otherwise it is found from the lines, whose
cost is linear in their tokens: the non-negative least squares fit, which gives the price back up to
rounding wherever lines differ in shape. Where they do not, no fit can tell input from output; the
smallest prices that explain the cost are taken.
Not covered: gathering the sums (`ledger.reports.queries_rates`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np

from core.call import Usage
from core.money import Price

Known = Callable[[str, str], Price | None]
Priced = tuple[str, str]  # tier, price version

_CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class Rates:
    """Micro-USD for a token of each kind."""

    fresh: Fraction
    cached: Fraction
    output: Fraction

    def cost_usd_micros(self, usage: Usage) -> Fraction:
        """What `usage` costs, not rounded."""
        return (
            self.fresh * usage.fresh_input_tokens
            + self.cached * usage.cached_input_tokens
            + self.output * usage.output_tokens
        )


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums of products over the lines of one tier and price version.

    `products` is over (fresh, cached, output, cost), the upper triangle row by row: 10 numbers.
    """

    tier: str
    price_version: str
    products: tuple[float, ...]


def unknown_price(_tier: str, _version: str) -> Price | None:
    """No price is known."""
    return None


def rates(moments: Iterable[Moments], known: Known = unknown_price) -> dict[Priced, Rates]:
    """For each tier and price version its rates, known or fitted."""
    found = {}
    for one in moments:
        price = known(one.tier, one.price_version)
        found[one.tier, one.price_version] = _fit(one) if price is None else of_price(price)
    return found


def of_price(price: Price) -> Rates:
    """A price list's rates: USD per million tokens are micro-USD for a token."""
    return Rates(
        Fraction(price.input_usd_per_million_tokens),
        Fraction(price.cached_input_usd_per_million_tokens),
        Fraction(price.output_usd_per_million_tokens),
    )


def _fit(moments: Moments) -> Rates:
    """Non-negative least squares; with three unknowns every set of non-zero ones can be tried."""
    matrix = np.zeros((4, 4))
    matrix[np.triu_indices(4)] = moments.products
    matrix = np.maximum(matrix, matrix.T)
    tokens_KK, costs_K, whole = matrix[:3, :3], matrix[:3, 3], matrix[3, 3]
    best, least = np.zeros(3), whole
    for size in (3, 2, 1):
        for kept in combinations(range(3), size):
            at = list(kept)
            found = np.zeros(3)
            found[at] = np.linalg.lstsq(tokens_KK[np.ix_(at, at)], costs_K[at], rcond=1e-12)[0]
            if found.min() < 0:
                continue
            left = whole - 2 * found @ costs_K + found @ tokens_KK @ found
            if left < least - _CLOSE * whole:
                best, least = found, left
    fresh, cached, output = (Fraction(float(rate)).limit_denominator(10**9) for rate in best)
    return Rates(fresh, cached, output)
