"""`autoscale.capacity.design`: the day that is sized for, and the factor of the days to come."""

import numpy as np
import pytest

from autoscale.capacity.design import design, shape
from autoscale.capacity.season import Assumed, Launch
from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.trace import Trace
from core.errors import HansomError
from core.money import DAYS_PER_MONTH

DAY_S = 86_400.0
END_S = 10 * DAY_S
PROFILE = EngineProfile(
    name="p", source="test", base_s=0.01, per_sequence_s=1e-4, per_kv_token_s=1e-7,
    prefill_tokens_per_s=10_000, chunk_tokens=512, kv_tokens=100_000,
)  # fmt: skip


def days(*factors: float) -> Trace:
    """Requests every 30 s, and in the hour from 6:00 so many times as many."""
    at_s: list[float] = []
    for day, factor in enumerate(factors):
        at_s.extend(day * DAY_S + np.arange(0, DAY_S, 30.0))
        at_s.extend(day * DAY_S + 6 * 3600 + np.linspace(0, 3599, int(120 * (factor - 1))))
    found = np.sort(np.array(at_s))
    return Trace("days", found, np.full(len(found), 400), np.full(len(found), 100))


def test_the_day_with_the_highest_hour_is_sized_for():
    made = design(days(2, 5, 3), PROFILE, Slo(), END_S, 3, Assumed(), 0.9)
    assert made.day.span_s <= DAY_S
    assert made.shape.requests == 2880 + 480
    assert made.shape.peak_hour_requests_per_s == pytest.approx(5 / 30, rel=0.02)
    assert (made.shape.input_tokens, made.shape.output_tokens) == (400, 100)


def test_steady_days_have_factor_1():
    made = design(days(4, 4, 4, 4), PROFILE, Slo(), END_S, 2, Assumed(), 0.9)
    assert made.peaks.middle == pytest.approx([1, 1], rel=0.02)
    assert made.inputs.peaks.middle[0] == pytest.approx(4 * 120 * 400, rel=0.02)
    assert made.outputs.peaks.middle[0] == pytest.approx(4 * 120 * 100, rel=0.02)


def test_one_day_keeps_its_shape_and_says_that_it_had_to():
    made = design(days(4), PROFILE, Slo(), END_S, 2, Assumed(), 0.9)
    assert made.peaks.middle == pytest.approx([1, 1])
    assert any("shape of the trace" in note for note in made.notes)


def test_an_hour_is_taken_for_the_highest_of_a_day():
    hour = days(1).window(0, 1800)
    made = design(hour, PROFILE, Slo(), END_S, 1, Assumed(), 0.9)
    assert made.peaks.middle == pytest.approx([1])
    assert any("shorter than a day" in note for note in made.notes)
    assert made.inputs.peaks.middle[0] == pytest.approx(120 * 400, rel=0.05)


def test_launches_and_growth_move_the_factor():
    launch = Launch("search", END_S + DAY_S, 2.0)
    assumed = Assumed(growth_per_month=0.5, launches=(launch,))
    made = design(days(4), PROFILE, Slo(), END_S, 31, assumed, 0.9)
    assert made.peaks.middle[0] == pytest.approx(1.5 ** (1 / DAYS_PER_MONTH), rel=0.01)
    assert made.peaks.middle[30] == pytest.approx(2 * 1.5 ** (31 / DAYS_PER_MONTH), rel=0.01)


def test_what_did_not_come_at_the_end_counts_as_nothing():
    quiet = design(days(4, 4), PROFILE, Slo(), END_S, 1, Assumed(), 0.9, span_s=6 * DAY_S)
    assert quiet.start_s == END_S
    assert quiet.peaks.middle[0] < 0.5


def test_what_came_only_before_the_first_whole_hour_counts():
    """A tier that got its only requests half an hour before the last whole hour began."""
    minutes = days(1).window(0, 600)
    made = design(minutes, PROFILE, Slo(), END_S, 2, Assumed(), 0.9, span_s=1.5 * 3600)
    assert np.isfinite(made.peaks.upper).all() and made.peaks.upper.min() > 0


def test_a_burst_after_weeks_of_silence_plans_for_a_few_of_it_at_most():
    quiet = np.arange(0, 28 * DAY_S, 7 * DAY_S)
    at_s = np.concatenate([quiet, 28 * DAY_S - 600 + np.arange(300) * 2.0])
    burst = Trace("burst", at_s, np.full(len(at_s), 400), np.full(len(at_s), 100))
    made = design(burst, PROFILE, Slo(), END_S, 30, Assumed(), 0.9)
    assert made.peaks.upper.max() < 20
    assert any("10 times" in note for note in made.notes)


def test_a_burst_inside_the_hour_is_told():
    at_s = np.sort(np.concatenate([np.arange(0, 3600, 10.0), np.linspace(600, 659, 354)]))
    made = shape(Trace("burst", at_s, np.full(len(at_s), 9), np.full(len(at_s), 9)))
    assert made.peak_to_mean == pytest.approx(360 / (714 / 60), rel=0.01)


def test_a_trace_without_requests_is_refused():
    with pytest.raises(HansomError, match="no requests"):
        design(days(1).window(0, 0), PROFILE, Slo(), END_S, 1, Assumed(), 0.9)
