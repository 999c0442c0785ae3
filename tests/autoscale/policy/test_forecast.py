"""The forecast's floor covers what it says it covers."""

import numpy as np
import pytest

from autoscale.policy.forecast import HORIZON_MINUTES, LEVEL_S, RESIDUALS, Decayed, Forecast


def told(loads: np.ndarray, quantile: float) -> tuple[Forecast, float]:
    """After a load for each minute, (N,); and how often the next five stayed below the floor."""
    forecast, covered = Forecast(), []
    for minute, load in enumerate(loads):
        forecast = forecast.after(float(load), float(load), 60.0)
        ahead = loads[minute + 1 : minute + 1 + HORIZON_MINUTES]
        if minute > RESIDUALS and len(ahead) == HORIZON_MINUTES:
            covered.append(ahead.max() <= forecast.upper(quantile))
    return forecast, float(np.mean(covered))


@pytest.mark.parametrize("quantile", [0.8, 0.9, 0.95])
def test_it_covers_within_three_points_on_load_of_a_known_law(quantile):
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, 20_000)
    drift = np.zeros(20_000)
    for n in range(1, 20_000):
        drift[n] = 0.95 * drift[n - 1] + 0.2 * noise[n]
    loads = 10 + drift + rng.normal(0, 0.5, 20_000)
    assert told(loads, quantile)[1] == pytest.approx(quantile, abs=0.03)


def test_it_covers_a_daily_wave_with_poisson_arrivals():
    rng = np.random.default_rng(4)
    rate = 20 + 8 * np.sin(np.arange(7 * 1440) / 1440 * 2 * np.pi)
    loads = rng.poisson(rate * 60) / 60
    assert told(loads, 0.9)[1] == pytest.approx(0.9, abs=0.03)


def test_what_is_remembered_is_bounded():
    forecast, _ = told(np.random.default_rng(0).random(2_000), 0.8)
    assert len(forecast.residuals) == RESIDUALS
    assert len(forecast.pending) <= HORIZON_MINUTES


# k residuals that do not overlap tell quantiles up to k / (k + 1): 19 for 0.95, 4 for 0.8.
@pytest.mark.parametrize(("quantile", "minutes"), [(0.95, 95), (0.8, 20)])
def test_without_enough_history_for_the_quantile_the_floor_is_the_level(quantile, minutes):
    forecast = Forecast()
    for minute in range(minutes + HORIZON_MINUTES - 1):
        forecast = forecast.after(1.0 + minute, 1.0 + minute, 60.0)
    assert forecast.upper(quantile) == forecast.level.mean()
    forecast = forecast.after(200.0, 200.0, 60.0)
    assert forecast.upper(quantile) > forecast.level.mean() + 1


def test_a_rate_of_the_first_seconds_counts_as_half_a_window():
    first = Decayed().after(5 * 30.0, 5.0, 5.0, LEVEL_S)
    assert first.rate(LEVEL_S) == pytest.approx(30.0 * 5 / 60)
    for _ in range(100):
        first = first.after(5 * 30.0, 5.0, 5.0, LEVEL_S)
    assert first.rate(LEVEL_S) == pytest.approx(30.0)


def test_a_higher_load_now_never_lowers_the_floor():
    rng = np.random.default_rng(1)
    forecast = Forecast()
    for load in rng.random(300):
        low = forecast.after(float(load), float(load), 60.0)
        high = forecast.after(float(load) + 1, float(load) + 1, 60.0)
        assert high.upper(0.9) >= low.upper(0.9)
        forecast = low


def test_short_ticks_and_long_ones_tell_the_same_level():
    short, long = Forecast(), Forecast()
    for _ in range(600):
        short = short.after(2.0, 2.0, 1.0)
    for _ in range(10):
        long = long.after(2.0, 2.0, 60.0)
    assert short.level.mean() == pytest.approx(long.level.mean()) == pytest.approx(2.0)
