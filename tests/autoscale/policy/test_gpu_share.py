"""GPUs that tiers share, and what the router is told of a tier that is cold or full."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscale.policy.demand import ScalingCode
from autoscale.policy.gpu_share import RISE, InSight, TierDemand, outlook, raised, share
from autoscale.policy.signals import Traffic, WantedReplicas
from core.settings.scaling import Slo
from router.policy.policy import decide
from router.policy.terms import AUTO, Observation, Policy, TierName
from tests.autoscale.policy.scaled import PROFILE, view
from tests.router.policy.test_policy import score_of

standings = st.lists(
    st.builds(
        lambda wanted, *rest: (WantedReplicas(wanted, "rate", "why"), *rest),
        st.integers(0, 20), st.integers(0, 4), st.floats(0.1, 10), st.integers(0, 10),
        st.integers(0, 5),
    ),
    max_size=4,
).map(lambda rows: [TierDemand(f"t{n}", *row) for n, row in enumerate(rows)])  # fmt: skip


@given(standings, st.integers(0, 60))
def test_the_budget_holds_and_nobody_gets_more_than_it_wants(tiers, gpus):
    granted = share(tiers, gpus)
    assert sum(granted[one.name].replicas * one.gpus for one in tiers) <= gpus
    for one in tiers:
        got = granted[one.name]
        assert got.replicas <= one.wanted.replicas
        assert (got == one.wanted) == (got.replicas == one.wanted.replicas)


@given(standings, st.integers(0, 60))
def test_floors_come_first_while_they_fit(tiers, gpus):
    floors = {one.name: min(one.floor, one.wanted.replicas) for one in tiers}
    if sum(floors[one.name] * one.gpus for one in tiers) <= gpus:
        granted = share(tiers, gpus)
        assert all(granted[name].replicas >= floor for name, floor in floors.items())


def test_the_next_gpu_goes_where_it_is_worth_most_and_the_reason_says_so():
    small = TierDemand("small", WantedReplicas(4, "rate", "load"), gpus=1, value=1.0)
    large = TierDemand("large", WantedReplicas(2, "rate", "load"), gpus=2, value=3.0)
    granted = share([small, large], 4)
    assert (granted["small"].replicas, granted["large"].replicas) == (2, 1)
    assert granted["large"].code == ScalingCode.BUDGET
    assert "2 wanted, and 4 GPUs are shared by value" in granted["large"].reason


def test_what_a_tier_has_and_wants_is_not_taken_from_it():
    small = TierDemand("small", WantedReplicas(4, "rate", "load"), gpus=1, value=1.0, has=4)
    large = TierDemand("large", WantedReplicas(2, "rate", "load"), gpus=2, value=100.0, has=1)
    granted = share([small, large], 6)
    assert (granted["small"].replicas, granted["large"].replicas) == (4, 1)


def test_but_for_the_first_replica_of_another():
    small = TierDemand("small", WantedReplicas(4, "rate", "load"), gpus=1, value=1.0, has=4)
    large = TierDemand("large", WantedReplicas(2, "rate", "load"), gpus=2, value=1.0)
    granted = share([small, large], 4)
    assert (granted["small"].replicas, granted["large"].replicas) == (2, 1)


@given(standings, st.integers(0, 60))
def test_every_tier_that_is_wanted_has_its_first_while_those_and_the_floors_fit(tiers, gpus):
    least = {one.name: min(max(one.floor, 1), one.wanted.replicas) for one in tiers}
    if sum(least[one.name] * one.gpus for one in tiers) <= gpus:
        granted = share(tiers, gpus)
        assert all(granted[name].replicas >= replicas for name, replicas in least.items())


def sight(name: str, **given: object) -> InSight:
    return InSight(name, view(**given), PROFILE, Slo(), 120.0)


LARGE_COLD = {"target": 0, "ready": 0}
FULL = {"ready": 1, "waiting": 40, "waiting_tokens": 400_000}
TIERS = (TierName("small"), TierName("large"))


def routed(need: float, small: dict[str, object], large: dict[str, object]) -> str:
    """Where the router's own policy sends a call, with the numbers of the outlook put in."""
    told = outlook([sight("small", **small), sight("large", **large)], 0.3)
    policy = Policy(
        TIERS, (0.3,), busy_waiting=told.busy_waiting, busy_threshold=told.busy_threshold
    )
    seen = Observation("r", AUTO, told.signals, score_of(need), deadline_s=told.deadline_s)
    return decide(seen, policy).tier


def test_a_cold_or_full_large_tier_raises_the_bar_but_still_takes_the_neediest():
    assert routed(0.4, {}, {}) == "large"
    for large in (LARGE_COLD, FULL):
        assert routed(0.4, {}, large) == "small"
        assert routed(0.9, {}, large) == "large"


def test_a_saturated_small_tier_spills_to_a_warm_one_only():
    assert routed(0.1, {}, {}) == "small"
    assert routed(0.1, FULL, {}) == "large"
    assert routed(0.1, FULL, LARGE_COLD) == "small"


def test_two_tiers_at_ease_move_nothing():
    told = outlook([sight("small"), sight("large")], 0.3)
    assert (told.busy_waiting, told.deadline_s) == (None, None)


def test_a_replica_that_is_starting_shortens_the_wait():
    cold = outlook([sight("large", now_s=100.0, target=1, ready=0, starting=(70.0,))], 0.3)
    assert cold.signals["large"].wait_s == pytest.approx(90.0)


def test_held_calls_wait_too():
    told = outlook([sight("a", traffic=Traffic(5.0, held=3, held_tokens=600))], 0.3)
    assert (told.signals["a"].waiting, told.signals["a"].waiting_tokens) == (3, 600)


@given(st.floats(-1, 1), st.floats(0, 1e9), st.floats(0.1, 100))
def test_the_bar_only_rises_and_never_more_than_halfway(cut_off, wait_s, allowed_s):
    bar = raised(cut_off, wait_s, allowed_s)
    assert cut_off <= bar <= cut_off + RISE * (1 - cut_off) + 1e-9
