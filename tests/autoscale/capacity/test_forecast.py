"""`autoscale.capacity.forecast`: laws of the plan, its dates and its sums."""

from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscale.capacity.forecast import (
    HOURS_PER_MONTH,
    CapacityPlan,
    Margin,
    NodeKind,
    TierAsk,
    nodes_for,
    plan,
)
from autoscale.capacity.season import Band
from autoscale.capacity.sizing import Curve
from core.money import DAYS_PER_MONTH

START_S = datetime(2026, 12, 30, tzinfo=UTC).timestamp()
CURVE = Curve((0.5, 1.0, 2.0, 4.0), (3, 5, 9, 17))


def ask(
    middle: list[float], *, factor: float = 1.0, per_node: int = 2, have: int | None = None
) -> TierAsk:
    peaks = np.array(middle)
    node = NodeKind("box", per_node, 10.0)
    return TierAsk("t", CURVE, factor, Band(peaks * 0.8, peaks, peaks * 1.5), START_S, node, have)


def counts(made: CapacityPlan) -> list[tuple[float, ...]]:
    days = [day for tier in made.tiers for day in tier.days]
    return [
        (one.lower, one.expected, one.upper)
        for day in days
        for one in (day.replicas, day.nodes, day.usd_per_hour)
    ]


def test_replicas_nodes_and_cost_of_a_day():
    day = plan([ask([1.0])], Margin()).tiers[0].days[0]
    assert (day.replicas.lower, day.replicas.expected, day.replicas.upper) == (5, 5, 7)
    assert (day.nodes.lower, day.nodes.expected, day.nodes.upper) == (4, 4, 5)
    assert day.usd_per_hour.upper == 50


def test_the_next_gpu_is_needed_on_the_first_day_that_passes_what_is_there():
    made = plan([ask([1.0, 1.2, 1.6, 2.0, 2.0], have=5)], Margin())
    found = made.tiers[0].next_gpu
    assert [day.nodes.upper for day in made.tiers[0].days] == [5, 6, 7, 8, 8]
    assert [day.nodes.expected for day in made.tiers[0].days] == [4, 4, 5, 6, 6]
    assert found.earliest == date(2026, 12, 31)
    assert found.expected == date(2027, 1, 2)
    assert found.latest is None
    assert made.next_gpu == found


def test_what_is_there_is_what_the_first_day_needs_unless_it_is_told():
    made = plan([ask([1.0, 1.0])], Margin()).tiers[0]
    assert made.have == made.days[0].nodes.upper
    assert made.next_gpu.earliest is None
    assert plan([ask([1.0], have=1)], Margin()).tiers[0].next_gpu.latest == date(2026, 12, 30)


def test_tiers_are_added_up_and_a_month_has_30_4375_days():
    made = plan([ask([1.0]), ask([2.0])], Margin())
    assert made.usd_per_hour(0).expected == 40 + 60
    assert made.usd_per_month(0).expected == pytest.approx(100 * HOURS_PER_MONTH)
    assert HOURS_PER_MONTH == 24 * DAYS_PER_MONTH == 720


@given(st.integers(1, 500), st.integers(1, 16), st.integers(0, 3))
def test_with_failed_nodes_gone_the_rest_holds_all_replicas(
    replicas: int, per_node: int, failures: int
):
    nodes = nodes_for(replicas, NodeKind("box", per_node, 1.0), failures)
    assert (nodes - failures) * per_node >= replicas
    assert (nodes - failures - 1) * per_node < replicas


def test_a_tier_without_load_needs_no_node():
    assert nodes_for(0, NodeKind("box", 8, 1.0), 1) == 0


@pytest.mark.parametrize("wrong", [{"headroom": -0.1}, {"failures": -1}])
def test_margins_below_nothing_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="0 or more"):
        Margin(**wrong)  # type: ignore[arg-type]


peaks = st.lists(st.floats(0, 20), min_size=1, max_size=10)


@given(peaks, st.floats(0, 2), st.integers(0, 3))
def test_intervals_are_ordered(middle: list[float], headroom: float, failures: int):
    for lower, expected, upper in counts(plan([ask(middle)], Margin(headroom, failures))):
        assert lower <= expected <= upper


@given(peaks, st.floats(0, 1), st.floats(0, 1))
def test_more_traffic_and_fewer_hits_never_need_less(middle: list[float], one: float, other: float):
    low, high = sorted((one, other))
    few = counts(plan([ask(middle, factor=1 - high)], Margin()))
    many = counts(plan([ask(middle, factor=1 - low)], Margin()))
    assert all(a <= b for fewer, more in zip(few, many, strict=True)
               for a, b in zip(fewer, more, strict=True))  # fmt: skip


@given(peaks, st.integers(0, 3), st.floats(0, 1))
def test_a_failure_or_headroom_never_needs_less(
    middle: list[float], failures: int, headroom: float
):
    bare = counts(plan([ask(middle)], Margin(0, failures)))
    safe = counts(plan([ask(middle)], Margin(headroom, failures + 1)))
    assert all(a <= b for less, more in zip(bare, safe, strict=True)
               for a, b in zip(less, more, strict=True))  # fmt: skip
