"""Bounds, cost and known peaks."""

import pytest

from autoscale.policy.rules import ScalingRules, rules_of
from core.settings.load import Tier
from core.settings.scaling import Scaling
from tests.autoscale.policy.scaled import PROFILE, scaling

HOUR_S = 3600.0
MONDAY_S = 4 * 24 * HOUR_S  # the epoch was a Thursday


def rules(peak: dict[str, object], **given: object) -> ScalingRules:
    return ScalingRules(0, 10, scaling(known_peaks=[peak], **given))


def test_bounds_out_of_order_are_refused():
    with pytest.raises(ValueError, match="bounds out of order"):
        ScalingRules(3, 2)


@pytest.mark.parametrize(
    ("hour", "replicas"), [(7.9, 0), (8.0, 5), (9.9, 5), (10.0, 0), (7.9 + 24, 0), (8.5 + 24, 0)]
)
def test_a_peak_is_of_its_day_and_hours(hour, replicas):
    peak = {"days": ["mon"], "start": "08:00", "until": "10:00", "replicas": 5}
    assert rules(peak).peak_floor(MONDAY_S + hour * HOUR_S, 0.0) == replicas


def test_a_peak_begins_a_lead_earlier_and_may_pass_midnight_and_the_week():
    peak = {"days": ["sun"], "start": "23:00", "until": "01:00", "replicas": 2}
    sunday = rules(peak)
    assert sunday.peak_floor(MONDAY_S + 0.5 * HOUR_S, 0.0) == 2
    assert sunday.peak_floor(MONDAY_S + 1.5 * HOUR_S, 0.0) == 0
    assert sunday.peak_floor(MONDAY_S - 1.05 * HOUR_S, 300.0) == 2
    assert sunday.peak_floor(MONDAY_S - 1.05 * HOUR_S, 100.0) == 0


def test_without_days_it_is_every_day_in_local_time():
    peak = {"start": "08:00", "until": "09:00", "replicas": 3}
    daily = rules(peak, utc_offset_h=-5)
    assert daily.peak_floor(MONDAY_S + 13.5 * HOUR_S, 0.0) == 3
    assert daily.peak_floor(MONDAY_S + 8.5 * HOUR_S, 0.0) == 0


def test_the_cost_cap_is_whole_replicas_and_never_below_the_least():
    assert ScalingRules(1, 50, scaling(max_usd_per_hour=10.0)).ceiling(PROFILE) == 3
    assert ScalingRules(4, 50, scaling(max_usd_per_hour=10.0)).ceiling(PROFILE) == 4
    free = PROFILE.model_copy(update={"usd_per_hour": 0.0})
    assert ScalingRules(1, 50, scaling(max_usd_per_hour=10.0)).ceiling(free) == 50


def test_the_risk_floor_keeps_a_tier_from_sleeping():
    assert ScalingRules(0, 5, scaling(risk_floor=2)).floor == 2


def test_a_tiers_rules_are_its_settings():
    tier = Tier.model_validate(
        {
            "name": "small",
            "model": "small-model",
            "engine": {"kind": "simulated"},
            "price": {"table": "small-model"},
            "replicas": {"min": 0, "max": 7},
            "scaling": {"idle_s": 60},
        }
    )
    assert rules_of(tier) == ScalingRules(0, 7, Scaling(idle_s=60))
