import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.flight.cost import FlightResult, split
from core.call import Usage


@settings(deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 2000))
def test_shares_add_up_and_no_two_differ_by_more_than_a_micro(cost: int, callers: int) -> None:
    shares = split(cost, callers)
    assert len(shares) == callers and sum(shares) == cost
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


def test_a_cost_needs_a_caller() -> None:
    with pytest.raises(ValueError):
        split(1, 0)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1))
def test_all_processes_together_pay_the_cost_whoever_came_or_left_late(
    cost: int, processes: list[tuple[int, int]]
) -> None:
    """Each process is counted with some callers and may have others when it lands."""
    callers = sum(counted for counted, _ in processes)
    paid, first = 0, 0
    for counted, aboard in processes:
        fares = FlightResult(Usage(), cost, callers, first, counted).fares(aboard)
        assert len(fares) == aboard
        assert all((fare.callers, fare.cost_usd_micros) == (callers, cost) for fare in fares)
        paid += sum(fare.share_usd_micros for fare in fares)
        first += counted
    assert paid == cost


def test_nobody_aboard_pays_nothing() -> None:
    assert FlightResult(Usage(), 9, 3, 0, 3).fares(0) == []
