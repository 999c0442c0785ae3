"""`autoscale.capacity.sizing`: the smallest fleet by replay, and the curve between loads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscale.capacity.sizing import Curve, ReplicaNeeds, curve, smallest
from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.replay import Setup
from autoscale.replay.trace import Trace
from core.errors import HansomError

PROFILE = EngineProfile(
    name="p", source="test", base_s=0.02, per_sequence_s=1e-3, per_kv_token_s=1e-7,
    prefill_tokens_per_s=5000, chunk_tokens=512, kv_tokens=40_000, max_sequences=32,
)  # fmt: skip
SETUP = Setup(PROFILE, Slo(), max_replicas=64)


def poisson(per_s: float, seconds: float = 900.0, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    at_s = np.cumsum(rng.exponential(1 / per_s, int(per_s * seconds)))
    lengths = rng.integers(50, 800, len(at_s)), rng.integers(5, 150, len(at_s))
    return Trace("poisson", at_s - at_s[0], *lengths)


@pytest.mark.parametrize("guess", [1, 3, 40])
def test_the_fleet_keeps_the_slo_and_one_fewer_does_not(guess: int):
    trace = poisson(20)
    sized = smallest(trace, SETUP, guess=guess)
    needs = ReplicaNeeds(trace, SETUP)
    assert sized.replicas > 1
    assert sized.slo_attainment == needs.kept(sized.replicas) >= 0.99
    assert needs.kept(sized.replicas - 1) < 0.99
    assert sized.worst_hour <= sized.slo_attainment + 0.01


def test_each_number_is_replayed_once_for_each_seed():
    needs = ReplicaNeeds(poisson(2, 100), SETUP, seeds=(0, 1, 2))
    needs.kept(1), needs.worst_hour(1), needs.kept(1)
    assert needs.replays == 3


def test_no_fewer_than_the_least():
    assert smallest(poisson(1, 100), SETUP, least=5).replicas == 5


def test_a_trace_that_no_number_serves_is_said():
    long = Trace("long", np.array([0.0]), np.array([50_000]), np.array([10]))
    with pytest.raises(HansomError, match=r"64 replicas of p keep 0.0% of long"):
        smallest(long, SETUP)


def test_a_trace_without_requests_needs_the_least():
    none = poisson(2, 100).window(0.0, 0.0)
    assert smallest(none, SETUP).replicas == 1


def test_the_curve_has_what_replays_said_and_never_falls():
    made, found = curve(poisson(10), SETUP, (2.0, 0.5, 1.0))
    assert made.factors == (0.5, 1.0, 2.0)
    assert list(made.replicas) == sorted(made.replicas)
    for factor, one in found.items():
        assert made.at(factor) == one.replicas
    assert made.at(1.0) < made.at(2.0)


def test_between_points_is_a_line_and_beyond_them_a_proportion():
    made = Curve((1.0, 2.0), (10, 18))
    assert [made.at(x) for x in (0.0, 0.1, 1.0, 1.5, 1.51, 2.0, 4.0)] == [0, 10, 10, 14, 15, 18, 36]


@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.integers(1, 500)), min_size=1, max_size=8),
    st.floats(0, 50),
    st.floats(0, 50),
)
def test_more_traffic_never_needs_fewer_replicas(
    points: list[tuple[float, int]], one: float, other: float
):
    factors = tuple(sorted({factor for factor, _ in points}))
    replicas = tuple(sorted(count for _, count in points)[: len(factors)])
    made = Curve(factors, replicas)
    low, high = sorted((one, other))
    assert made.at(low) <= made.at(high)
