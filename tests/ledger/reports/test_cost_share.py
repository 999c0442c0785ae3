"""A bill is divided without a micro-USD left over."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger_line import Kind
from ledger.reports.cost_share import NOBODY, gpu_seconds, shares
from tests.ledger.lines import line


@given(
    st.integers(0, 10**12),
    st.dictionaries(st.text(max_size=3), st.floats(0, 1e6), min_size=1, max_size=12),
)
def test_shares_add_up_to_the_bill_and_none_is_a_micro_usd_off(
    bill: int, held: dict[str, float]
) -> None:
    paid = shares(bill, held)
    assert sum(paid.values()) == bill
    whole = sum(map(Fraction, held.values()))
    if whole:
        for tenant, seconds in held.items():
            assert abs(paid[tenant] - bill * Fraction(seconds) / whole) < 1
            assert seconds or not paid[tenant]
    else:
        assert paid[NOBODY] == bill


def test_the_largest_remainders_get_what_is_left_and_equal_ones_go_by_name() -> None:
    assert shares(100, {"b": 1.0, "a": 1.0, "c": 1.0}) == {"b": 33, "a": 34, "c": 33}
    assert shares(10, {"a": 5.0, "b": 14.0, "c": 1.0}) == {"a": 3, "b": 7, "c": 0}


def test_a_negative_bill_or_time_is_refused() -> None:
    for bill, held in ((-1, {"a": 1.0}), (1, {"a": -1.0})):
        with pytest.raises(ValueError, match="0 or more"):
            shares(bill, held)


def test_gpu_seconds_are_those_in_which_an_engine_worked_for_a_tenant() -> None:
    lines = [
        line(1, tenant="a", queue_s=0.5, total_s=2.0),
        line(2, tenant="a", queue_s=None, total_s=1.0),
        line(3, tenant="b", queue_s=1.0, total_s=4.0, kind=Kind.SHADOW),
        line(4, tenant="b", total_s=9.0, kind=Kind.CACHE_HIT),
        line(5, tenant="b", total_s=9.0, kind=Kind.JOINED),
        line(6, tenant="b", total_s=9.0, kind=Kind.CANCELLED, cache="flight"),
        line(7, tenant="c", total_s=9.0, tier="large"),
    ]
    assert gpu_seconds(lines, "small") == {"a": 2.5, "b": 3.0}
