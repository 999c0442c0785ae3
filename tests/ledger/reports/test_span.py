"""Days, weeks and spans as a user writes them, in UTC."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import HansomError
from ledger.reports.span import DAY_S, TimeSpan, between, day, parse, span, week

NOV_1_S = datetime(2026, 11, 1, tzinfo=UTC).timestamp()


def test_a_day_is_its_begin_in_utc_and_a_moment_may_name_its_own_zone() -> None:
    assert parse("2026-11-01") == NOV_1_S
    assert parse("2026-11-01T12:30") == NOV_1_S + 12.5 * 3600
    assert parse("2026-11-01T02:00+02:00") == NOV_1_S


def test_a_week_is_seven_days_from_monday_and_the_next_one_follows_it() -> None:
    found = week("2026-W45")
    assert found.since_s == parse("2026-11-02")
    assert found.until_s == week("2026-W46").since_s == parse("2026-11-09")
    assert week("2026W45") == found


@pytest.mark.parametrize("wrong", ["2026-W54", "2025-W53", "W45", "2026-45", "2026-W0", ""])
def test_a_week_that_is_none_is_told_with_an_example(wrong: str) -> None:
    with pytest.raises(HansomError, match=r"is no week: write 2026-W45"):
        week(wrong)


@pytest.mark.parametrize("wrong", ["yesterday", "2026-13-01", "11/01/2026", ""])
def test_a_day_that_is_none_is_told_with_an_example(wrong: str) -> None:
    with pytest.raises(HansomError, match="is no day or moment: write 2026-11-01"):
        parse(wrong)


@pytest.mark.parametrize("wrong", ["2026-11-01", "2026-11-01..", "..2026-11-01"])
def test_a_span_needs_both_ends(wrong: str) -> None:
    with pytest.raises(HansomError, match="is no span"):
        between(wrong)


def test_a_span_that_ends_before_it_begins_is_refused_with_both_ends() -> None:
    with pytest.raises(HansomError, match=r"ends \(2026-11-01 00:00\) before it begins"):
        span("2026-11-02", "2026-11-01", None, 0.0)
    with pytest.raises(HansomError, match="before it begins"):
        between("2026-11-01..2026-11-01")


def test_hours_count_back_from_now_and_exclude_since() -> None:
    assert span(None, None, 2, 10_000.0) == TimeSpan(since_s=2_800.0)
    with pytest.raises(HansomError, match="--since and --hours"):
        span("2026-11-01", None, 2, 0.0)
    with pytest.raises(HansomError, match="--hours is more than 0"):
        span(None, None, 0, 0.0)


def test_a_span_says_itself_in_words() -> None:
    assert TimeSpan().words() == "the first line to the last line"
    told = span("2026-11-01", "2026-11-02", None, 0.0, "acme", "docs").words()
    assert told == "2026-11-01 00:00 to 2026-11-02 00:00 UTC, tenant acme, tag docs"


@given(st.integers(0, 40_000))
def test_a_day_number_and_its_date_are_the_same_day(number: int) -> None:
    assert parse(day(number)) == number * DAY_S
