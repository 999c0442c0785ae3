"""Money is integer micro-USD, rounded once."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.call import Usage
from core.money import Price, usd

TOKENS = st.integers(0, 10**9)
PRICES = st.decimals(0, 1000, places=4)


@given(st.tuples(TOKENS, TOKENS, TOKENS), st.tuples(PRICES, PRICES, PRICES))
def test_a_cost_is_the_exact_sum_rounded_half_up_once(
    tokens: tuple[int, int, int], prices: tuple[Decimal, Decimal, Decimal]
) -> None:
    exact = sum(
        (Fraction(price) * count for count, price in zip(tokens, prices, strict=True)), Fraction(0)
    )
    cost = Price(*prices, version="v").cost_usd_micros(Usage(*tokens))
    assert isinstance(cost, int)
    assert cost == int(exact + Fraction(1, 2))


def test_half_a_micro_usd_is_rounded_up() -> None:
    price = Price(Decimal("0.5"), Decimal(0), Decimal(0), "v")
    assert [price.cost_usd_micros(Usage(tokens)) for tokens in (0, 1, 2, 3)] == [0, 1, 1, 2]


@given(st.integers(-(10**15), 10**15))
def test_usd_text_is_the_same_amount(micros: int) -> None:
    assert Decimal(usd(micros)) * 1_000_000 == micros


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0.000000"), (1500, "0.001500"), (-1, "-0.000001"), (10**6, "1.000000")],
)
def test_usd_text_always_has_six_decimals(micros: int, text: str) -> None:
    assert usd(micros) == text
