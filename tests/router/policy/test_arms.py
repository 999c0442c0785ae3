"""Who is routed by which policy: stable, in proportion, and shadows are never followed."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from router.policy.arms import Arm, RoutingPlan, shadowed
from router.policy.policy import decide
from router.policy.terms import AUTO, Observation, Policy, Strategy, TierName

MAIN = Policy((TierName("small"), TierName("large")), (0.2,), Strategy.ALWAYS_SMALL)
OTHER = replace(MAIN, strategy=Strategy.ALWAYS_LARGE)
LEARNED = replace(MAIN, strategy=Strategy.LEARNED)
PLAN = RoutingPlan(MAIN, (Arm("b", 0.25, OTHER), Arm("c", 0.25, LEARNED)))
UNITS = [f"user-{at}" for at in range(4000)]


def test_the_arms_get_their_shares_and_the_rest_is_the_operators_own() -> None:
    found = [PLAN.policy_for("t", unit)[1] for unit in UNITS]
    for name, share in (("b", 0.25), ("c", 0.25), ("", 0.5)):
        assert found.count(name) / len(found) == pytest.approx(share, abs=0.03)


@given(st.text(), st.text())
def test_a_unit_stays_where_it_is(tenant: str, unit: str) -> None:
    assert PLAN.policy_for(tenant, unit) == PLAN.policy_for(tenant, unit)


def test_widening_the_first_arm_moves_nobody_out_of_it() -> None:
    wider = RoutingPlan(MAIN, (replace(PLAN.arms[0], share=0.4),))
    before = {unit for unit in UNITS if PLAN.policy_for("t", unit)[1] == "b"}
    after = {unit for unit in UNITS if wider.policy_for("t", unit)[1] == "b"}
    assert before < after


def test_a_tenants_override_stands_outside_of_the_experiment() -> None:
    plan = replace(PLAN, tenants={"key-1": LEARNED})
    assert {plan.policy_for("key-1", unit) for unit in UNITS[:100]} == {(LEARNED, "")}


def test_a_shadow_looks_at_its_share_and_is_never_followed() -> None:
    plan = RoutingPlan(MAIN, (Arm("s", 0.3, OTHER, shadow=True),))
    assert {plan.policy_for("t", unit) for unit in UNITS} == {(MAIN, "")}
    looked = [bool(plan.shadows_for(unit)) for unit in UNITS]
    assert sum(looked) / len(looked) == pytest.approx(0.3, abs=0.03)


def test_what_a_shadow_would_have_done_is_told_beside_what_was_done() -> None:
    call = Observation("r", AUTO, {})
    decision = decide(call, MAIN)
    same, other = shadowed(call, decision, (Arm("a", 1.0, MAIN, True), Arm("b", 1.0, OTHER, True)))
    assert (same.agrees, other.agrees, other.decision.tier) == (True, False, "large")


@pytest.mark.parametrize(
    ("main", "arm", "needed"),
    [(MAIN, OTHER, False), (LEARNED, OTHER, True), (MAIN, LEARNED, True)],
)
def test_a_score_is_asked_for_only_when_somebody_looks_at_it(
    main: Policy, arm: Policy, needed: bool
) -> None:
    shadow = Arm("s", 1.0, arm, shadow=True)
    assert RoutingPlan(main, (shadow,)).needs_score(main, (shadow,)) is needed


def test_shares_that_are_more_than_a_whole_are_refused_but_shadows_do_not_count() -> None:
    with pytest.raises(ValueError, match="more than 1"):
        RoutingPlan(MAIN, (Arm("a", 0.7, OTHER), Arm("b", 0.4, OTHER)))
    RoutingPlan(MAIN, (Arm("a", 0.7, OTHER), Arm("b", 1.0, OTHER, shadow=True)))
