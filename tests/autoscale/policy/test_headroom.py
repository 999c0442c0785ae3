"""The level of room: quickly up, slowly down, bounded, and not by chance."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from autoscale.policy.forecast import Decayed
from autoscale.policy.headroom import LEAST_LEVEL, MOST_LEVEL, Headroom, bounds, level_of, spread

LEAD_S = 300.0
TICK_S = 5.0


def run(
    headroom: Headroom, calls: float, share: float, seconds: float, *, now_s: float = 0.0,
    more_level: float = 0.0,
) -> Headroom:  # fmt: skip
    """So long with so many calls a tick, of which this share missed the SLO."""
    for n in range(round(seconds / TICK_S)):
        headroom = headroom.after(
            calls, calls * share, now_s + (n + 1) * TICK_S, TICK_S,
            allowed=0.01, lead_s=LEAD_S, more_level=more_level,
        )  # fmt: skip
    return headroom


ticks = st.lists(st.tuples(st.floats(0, 500), st.floats(0, 1)), max_size=60)


@given(ticks=ticks, more_level=st.floats(-5, 50))
@settings(deadline=None)
def test_the_level_is_bounded(ticks: list[tuple[float, float]], more_level: float):
    found = Headroom()
    for n, (judged, share) in enumerate(ticks):
        found = found.after(
            judged, judged * share, 400.0 * n, 400.0,
            allowed=0.01, lead_s=LEAD_S, more_level=more_level,
        )  # fmt: skip
        assert LEAST_LEVEL <= found.level <= MOST_LEVEL


@given(judged=st.floats(0, 1e6), missed=st.floats(0, 1))
def test_a_share_is_between_its_bounds(judged: float, missed: float):
    least, most = bounds(Decayed(judged * missed, judged), 0.01)
    shrunk = (judged * missed + 1) / (judged + 100)
    assert 0 <= least <= shrunk <= most <= 1


def test_misses_raise_it_at_once_and_for_one_replica_more():
    found = run(Headroom(), 20, 0.2, TICK_S, more_level=0.9)
    assert found.level == pytest.approx(0.9)
    assert run(Headroom(), 20, 0.2, TICK_S, more_level=9.0).level == 1.0


def test_it_is_raised_once_until_a_replica_could_be_there():
    once = run(Headroom(), 20, 0.5, TICK_S)
    assert run(Headroom(), 20, 0.5, LEAD_S).level == once.level
    after = run(Headroom(), 20, 0.5, LEAD_S + 2 * TICK_S)
    assert after.level > once.level


def test_what_was_missed_while_replicas_started_does_not_count_afterwards():
    """All is well once the replica is there: no second step."""
    found = run(run(Headroom(), 20, 0.5, LEAD_S), 20, 0.0, 1800, now_s=LEAD_S)
    assert found.level <= run(Headroom(), 20, 0.5, TICK_S).level


def test_with_few_calls_a_miss_says_nothing():
    few = run(run(Headroom(), 0.1, 0.0, 900), 1, 1.0, TICK_S, now_s=900)
    assert few.hours.total == 1 and few.level == 0
    assert run(Headroom(), 0.02, 0.0, 3600).level == 0, "14 calls without a miss"


def test_one_burst_within_what_hours_may_miss_leaves_it():
    calm = run(Headroom(), 20, 0.0, 4 * 3600)
    found = run(calm, 20, 0.3, 300, now_s=4 * 3600)
    assert found.level <= calm.level
    assert 0.99 < (found.within or 0) < 1


def test_down_takes_hours():
    found = run(Headroom(level=1.0), 20, 0.0, 3600)
    assert 0.4 < found.level < 0.6


def test_where_none_may_be_added_misses_do_not_wind_it_up():
    assert run(Headroom(), 20, 0.5, 3600, more_level=math.inf).level == 0


def test_without_calls_it_stays():
    found = run(Headroom(level=0.7), 0, 0.0, 3600)
    assert (found.level, found.within) == (0.7, None)


@pytest.mark.parametrize("load", [0.3, 1.0, 16.0])
def test_a_level_is_what_asks_for_so_many(load: float):
    assert load + level_of(7.0, load) * spread(load) == pytest.approx(7.0)


@pytest.mark.parametrize("needs", [-1.0, 0.3, 1.5])
def test_it_settles_where_the_target_is_kept(needs: float):
    """A tier that misses a tenth of its calls below a level, and none above it."""
    found, now_s, missed, judged = Headroom(), 0.0, 0.0, 0.0
    for _ in range(round(48 * 3600 / TICK_S)):
        now_s += TICK_S
        share = 0.1 if found.level < needs else 0.0
        found = found.after(
            20, 20 * share, now_s, TICK_S, allowed=0.01, lead_s=LEAD_S, more_level=0.0
        )
        if now_s > 24 * 3600:
            judged, missed = judged + 20, missed + 20 * share
    assert 1 - missed / judged >= 0.988
    assert abs(found.level - needs) < 1.2
