"""Prices found again from the lines that they made."""

from decimal import Decimal
from fractions import Fraction
from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.call import Usage
from core.money import Price
from ledger.reports.rates import Moments, of_price, rates

USAGES = (
    Usage(900, 0, 40), Usage(120, 600, 300), Usage(2_000, 64, 5), Usage(40, 0, 1_000),
)  # fmt: skip


def price(fresh: str, cached: str, output: str) -> Price:
    return Price(Decimal(fresh), Decimal(cached), Decimal(output), "v1")


def moments(usages: tuple[Usage, ...], costs: list[int]) -> Moments:
    columns = [
        [usage.fresh_input_tokens for usage in usages],
        [usage.cached_input_tokens for usage in usages],
        [usage.output_tokens for usage in usages],
        costs,
    ]
    products = (
        float(sum(one * other for one, other in zip(a, b, strict=True)))
        for a, b in combinations_with_replacement(columns, 2)
    )
    return Moments("small", "v1", tuple(products))


@given(*[st.integers(10, 10_000)] * 3)
def test_lines_of_different_shapes_give_their_price_back(
    fresh: int, cached: int, output: int
) -> None:
    listed = Price(Decimal(fresh), Decimal(cached), Decimal(output), "v1")
    costs = [listed.cost_usd_micros(usage) for usage in USAGES]
    found = rates([moments(USAGES, costs)])["small", "v1"]
    for rate, per_token in zip(
        (found.fresh, found.cached, found.output), (fresh, cached, output), strict=True
    ):
        assert float(rate) == pytest.approx(per_token, rel=1e-4)


def test_rounding_never_makes_a_price_negative() -> None:
    listed = price("0.1", "0", "0.5")
    costs = [listed.cost_usd_micros(usage) for usage in USAGES]
    found = rates([moments(USAGES, costs)])["small", "v1"]
    assert min(found.fresh, found.cached, found.output) >= 0
    assert float(found.output) == pytest.approx(0.5, abs=0.01)


def test_lines_of_one_shape_give_rates_that_explain_their_cost() -> None:
    found = rates([moments((Usage(100, 20, 30),) * 5, [10] * 5)])["small", "v1"]
    assert float(found.cost_usd_micros(Usage(100, 20, 30))) == pytest.approx(10)


def test_lines_that_cost_nothing_have_no_price() -> None:
    found = rates([moments(USAGES, [0] * len(USAGES))])["small", "v1"]
    assert found.cost_usd_micros(Usage(1, 1, 1)) == 0


def test_a_known_price_is_taken_as_it_is() -> None:
    listed = price("0.09", "0.009", "0.45")
    strange = moments(USAGES, [7] * len(USAGES))
    found = rates([strange], lambda tier, _: listed if tier == "small" else None)
    assert found["small", "v1"] == of_price(listed)
    assert found["small", "v1"].output == Fraction(45, 100)
