"""`autoscale.capacity.scenario`: plans of several tiers and what-ifs, sized by real replays."""

from dataclasses import replace

import numpy as np

from autoscale.capacity.design import design
from autoscale.capacity.forecast import Margin, NodeKind
from autoscale.capacity.scenario import Scenario, TierSpec, solve
from autoscale.capacity.season import Assumed
from autoscale.capacity.sizing import ReplicaNeeds
from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.replay import Setup
from autoscale.replay.trace import Trace

PROFILE = EngineProfile(
    name="fast", source="test", base_s=0.02, per_sequence_s=1e-3, per_kv_token_s=1e-7,
    prefill_tokens_per_s=5000, chunk_tokens=512, kv_tokens=40_000, max_sequences=32,
)  # fmt: skip
SLOW = PROFILE.model_copy(update={"name": "slow", "base_s": 0.05, "per_sequence_s": 3e-3})
SETUP = Setup(PROFILE, Slo())


def trace(per_s: float = 12.0) -> Trace:
    rng = np.random.default_rng(0)
    at_s = np.cumsum(rng.exponential(1 / per_s, int(per_s * 600)))
    return Trace("t", at_s - at_s[0], np.full(len(at_s), 400), np.full(len(at_s), 60))


DESIGN = design(trace(), PROFILE, Slo(), 86_400.0, 3, Assumed(), 0.9)
NODE = NodeKind("box", 1, 2.0)


def scenario(change: str, factor: float, profile: EngineProfile = PROFILE) -> Scenario:
    return Scenario(change, (TierSpec("t", DESIGN, profile, factor, NODE),))


def test_today_is_the_smallest_fleet_that_keeps_the_design_day():
    (found,) = solve([scenario("as it is", 1.0)], SETUP, Margin())
    today = found.today["t"].replicas
    needs = ReplicaNeeds(DESIGN.day, SETUP)
    assert needs.kept(today) >= 0.99 > needs.kept(today - 1)
    assert found.plan.tiers[0].days[0].replicas.expected == today


def test_hits_save_and_a_slower_profile_costs():
    base, hits, slow = solve(
        [scenario("as it is", 1.0), scenario("hits", 0.5), scenario("slow", 1.0, SLOW)],
        SETUP, Margin(),
    )  # fmt: skip
    counts = [one.plan.tiers[0].days[0].replicas.expected for one in (hits, base, slow)]
    assert counts[0] < counts[1] < counts[2]
    assert hits.plan.usd_per_month(0).upper < base.plan.usd_per_month(0).upper


def test_a_tier_that_gets_nothing_is_left_out():
    both = Scenario(
        "two", (*scenario("", 1.0).tiers, replace(scenario("", 0.0).tiers[0], name="u"))
    )
    (found,) = solve([both], SETUP, Margin())
    assert [tier.name for tier in found.plan.tiers] == ["t"]
    assert set(found.today) == {"t"}
