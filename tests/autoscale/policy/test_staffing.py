"""Staffing by Erlang's tail: the formula written out, and what more load or work asks for."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscale.policy.staffing import MOST_SERVERS, servers


def late_share(n: int, load: float, waits: float) -> float:
    """P(wait > waits times the mean work) in an M/M/n queue, by the sums of the textbook."""
    if n <= load:
        return 1.0
    busy = load**n / math.factorial(n) * n / (n - load)
    delayed = busy / (sum(load**k / math.factorial(k) for k in range(n)) + busy)
    return delayed * math.exp(-(n - load) * waits)


@given(load=st.floats(0.01, 30), waits=st.floats(0, 20), share=st.floats(0.001, 0.5))
def test_it_is_the_first_number_whose_tail_is_short_enough(load: float, waits: float, share: float):
    n = servers(load, 1.0, waits, share)
    assert late_share(n, load, waits) <= share * (1 + 1e-6)
    assert n == 1 or late_share(n - 1, load, waits) > share * (1 - 1e-6)


loads = st.floats(0, 300)


@given(load=loads, more=loads, work_s=st.floats(0.01, 100), longer=st.floats(1, 10))
def test_more_load_and_longer_work_never_ask_for_fewer(
    load: float, more: float, work_s: float, longer: float
):
    n = servers(load, work_s, 1.6, 0.01)
    assert n >= load
    assert servers(load + more, work_s, 1.6, 0.01) >= n
    assert servers(load, work_s * longer, 1.6, 0.01) >= n


def test_small_fleets_and_long_calls_get_more_room():
    """Calls of 0.15 s: one replica at 68 % at the most, ten at 95 %. Calls of 3 s: 15 at 11."""
    assert [servers(load, 0.15, 1.6, 0.01) for load in (0.6, 0.7, 9.5)] == [1, 2, 10]
    assert servers(11.0, 3.0, 1.6, 0.01) >= 15


@pytest.mark.parametrize("load", [0.0, -1.0])
def test_no_load_needs_none(load: float):
    assert servers(load, 1.0, 1.0, 0.01) == 0


def test_a_load_beyond_all_measure_ends():
    assert servers(1e12, 1e9, 1e-9, 1e-9) == MOST_SERVERS
