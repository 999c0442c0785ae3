"""Calendar windows: each moment is in one, and each begins where the one before it ends."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.windows import span, told
from core.settings.accounts import Window

MOMENTS = st.floats(0, 4_102_444_800)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (Window.MINUTE, "2028-02-29T17:05:00", "2028-02-29T17:06:00"),
        (Window.HOUR, "2028-02-29T17:00:00", "2028-02-29T18:00:00"),
        (Window.DAY, "2028-02-29T00:00:00", "2028-03-01T00:00:00"),
        (Window.WEEK, "2028-02-28T00:00:00", "2028-03-06T00:00:00"),
        (Window.MONTH, "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
    ],
)
def test_windows_are_those_of_the_calendar_in_utc(window: Window, start: str, end: str) -> None:
    assert span(window, at("2028-02-29T17:05:59") + 0.9) == (at(start), at(end))


def test_a_year_ends_with_its_december() -> None:
    assert span(Window.MONTH, at("2026-12-31T23:59:59"))[1] == at("2027-01-01T00:00:00")


@given(MOMENTS, st.sampled_from(Window))
def test_every_moment_is_in_its_window_and_the_next_begins_at_its_end(
    now_s: float, window: Window
) -> None:
    start_s, end_s = span(window, now_s)
    assert start_s <= now_s < end_s
    assert span(window, start_s) == (start_s, end_s)
    assert span(window, end_s)[0] == end_s
    assert span(window, end_s - 0.001) == (start_s, end_s)


@given(MOMENTS)
def test_a_week_begins_on_a_monday_and_a_month_on_its_first(now_s: float) -> None:
    assert datetime.fromtimestamp(span(Window.WEEK, now_s)[0], UTC).weekday() == 0
    assert datetime.fromtimestamp(span(Window.MONTH, now_s)[0], UTC).day == 1


def test_a_moment_is_told_in_utc() -> None:
    assert told(at("2026-11-20T17:00:00")) == "2026-11-20T17:00:00Z"
