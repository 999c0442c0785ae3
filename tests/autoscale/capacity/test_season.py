"""`capacity.season`: what is learned, what is refused, and how often the bands are right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.capacity.season import Assumed, History, Launch, forecast
from autoscale.replay.engine_state import Floats
from core.money import DAYS_PER_MONTH

DAY_S = 86_400.0
MONDAY_S = 4 * DAY_S  # the first of the Unix epoch


def law(days: int, *, noise: float = 0.0, growth: float = 0.0, seed: int = 0) -> Floats:
    """Hours of 1000 on the mean, highest at 6:00, with weekends at 0.7."""
    hours = np.arange(24 * days)
    rng = np.random.default_rng(seed)
    weekend = np.where((hours // 24) % 7 >= 5, 0.7, 1.0)
    season = 1000 * (1 + 0.5 * np.sin(2 * np.pi * hours / 24)) * weekend
    return np.asarray(season * np.exp(growth * hours / 24 + rng.normal(0, noise, len(hours))))


def history(hours: Floats) -> History:
    return History(MONDAY_S, 3600.0, hours)


def test_a_law_of_hours_and_weekdays_is_continued():
    whole = law(35)
    told = forecast(history(whole[: 28 * 24]), 7)
    assert told.season == "weekly"
    assert np.abs(told.hours.middle / whole[28 * 24 :] - 1).max() < 0.01


@pytest.mark.filterwarnings("error")
def test_a_weekday_on_which_nothing_ever_comes_has_a_forecast_of_nothing():
    whole = law(35)
    whole[(np.arange(len(whole)) // 24) % 7 >= 5] = 0.0
    middle = forecast(history(whole[: 28 * 24]), 7).hours.middle
    assert np.isfinite(middle).all()
    assert middle[: 5 * 24] == pytest.approx(whole[28 * 24 : 33 * 24], rel=0.01)
    assert middle[5 * 24 :].max() < 1.0


def test_the_trend_is_told_for_each_month():
    daily = np.log(1.10) / DAYS_PER_MONTH
    told = forecast(history(law(42, growth=daily)), 7)
    assert told.growth_per_month == pytest.approx(0.10, abs=0.005)
    assumed = forecast(history(law(42, growth=daily)), 7, Assumed(growth_per_month=0.5))
    assert assumed.growth_per_month == pytest.approx(0.5)
    assert assumed.hours.middle[-1] > told.hours.middle[-1]


def test_a_weekly_season_is_refused_under_14_days_and_a_daily_one_under_2():
    short = forecast(history(law(13)), 2)
    assert short.season == "daily"
    assert any("no weekly season: 13.0 days" in note for note in short.notes)
    assert any("no trend" in note for note in short.notes)
    shorter = forecast(history(law(1)), 2)
    assert shorter.season == "none"
    assert any("no daily season: 1.0 days" in note for note in shorter.notes)
    assert np.ptp(shorter.hours.middle) == 0
    assert not forecast(history(law(14)), 1).notes


def test_a_launch_multiplies_from_its_date_on():
    whole = law(28)
    begins_s = MONDAY_S + 30 * DAY_S
    plain = forecast(history(whole), 4)
    told = forecast(history(whole), 4, Assumed(launches=(Launch("search", begins_s, 2.0),)))
    assert told.hours.middle[: 2 * 24] == pytest.approx(plain.hours.middle[: 2 * 24])
    assert told.hours.middle[2 * 24 :] == pytest.approx(2 * plain.hours.middle[2 * 24 :])
    assert told.peaks.upper[3] == pytest.approx(2 * plain.peaks.upper[3])


def test_a_launch_in_the_history_is_not_taken_for_growth():
    begins_s = MONDAY_S + 21 * DAY_S
    whole = law(28)
    whole[21 * 24 :] *= 3
    told = forecast(history(whole), 1, Assumed(launches=(Launch("search", begins_s, 3.0),)))
    assert told.growth_per_month == pytest.approx(0, abs=0.01)
    assert told.hours.middle == pytest.approx(3 * law(29)[-24:], rel=0.02)


def test_bands_cover_what_they_say_within_3_points():
    inside = []
    for seed in range(30):
        whole = law(50, noise=0.1, seed=seed)
        told = forecast(history(whole[: 49 * 24]), 1, coverage=0.9)
        came = whole[49 * 24 :]
        inside.extend(((came >= told.hours.lower) & (came <= told.hours.upper)).tolist())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def test_a_band_of_a_noisier_history_is_wider():
    calm = forecast(history(law(28, noise=0.02)), 1)
    wild = forecast(history(law(28, noise=0.3)), 1)
    assert np.all(wild.hours.upper / wild.hours.middle > calm.hours.upper / calm.hours.middle)


def test_a_history_too_short_to_be_asked_has_an_assumed_band_and_says_so():
    told = forecast(history(law(1)), 40)
    assert any("a band of 30% is assumed" in note for note in told.notes)
    assert any("beyond day 0" in note for note in told.notes)
    assert told.hours.upper[-1] / told.hours.middle[-1] > told.hours.upper[0] / told.hours.middle[0]


def test_intervals_are_summed_to_whole_hours():
    assert History(0.0, 600.0, np.ones(15)).hours() == pytest.approx([6.0, 6.0])
    with pytest.raises(ValueError, match="an hour at most"):
        History(0.0, 7200.0, np.ones(3)).hours()
    with pytest.raises(ValueError, match="0 or more"):
        History(0.0, 3600.0, np.array([1.0, -1.0])).hours()


@pytest.mark.parametrize(("days", "coverage"), [(0, 0.9), (1, 0.0), (1, 1.0)])
def test_what_cannot_be_forecast_is_refused(days: int, coverage: float):
    with pytest.raises(ValueError, match="a day or more"):
        forecast(history(law(3)), days, coverage=coverage)
    with pytest.raises(ValueError, match="an hour of history"):
        forecast(history(np.ones(0)), 1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=24 * 20),
    st.integers(1, 40),
    st.floats(0.5, 0.99),
)
def test_bands_are_ordered_finite_and_of_the_days_asked_for(
    values: list[float], days: int, coverage: float
):
    told = forecast(history(np.array(values)), days, coverage=coverage)
    for band, size in ((told.hours, 24 * days), (told.peaks, days)):
        assert band.middle.shape == (size,)
        assert np.isfinite(band.upper).all()
        assert (band.lower <= band.middle).all()
        assert (band.middle <= band.upper).all()
        assert (band.lower >= 0).all()
