"""Calendar windows: find the begin and the end of the one that holds a moment.

Promises: pure; in UTC, so that a reset is a moment that can be told; a week begins on Monday;
every moment is in exactly one window of each length.
Not covered: sliding windows. A calendar window lets a caller spend twice its limit around a
boundary, and in return "resets at" is exact and a counter is one number.
"""

from datetime import UTC, datetime, timedelta

from core.settings.accounts import Window

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
# 1970-01-01 was a Thursday.
_MONDAY_S = 4 * _DAY_S
_FIXED_S = {Window.MINUTE: _MINUTE_S, Window.HOUR: _HOUR_S, Window.DAY: _DAY_S}


def span(window: Window, now_s: float) -> tuple[int, int]:
    """Start and end of the window around `now_s`, both in s since 1970; the end is outside."""
    moment_s = int(now_s // 1)
    if length_s := _FIXED_S.get(window):
        start_s = moment_s - moment_s % length_s
        return start_s, start_s + length_s
    if window is Window.WEEK:
        length_s = 7 * _DAY_S
        start_s = moment_s - (moment_s - _MONDAY_S) % length_s
        return start_s, start_s + length_s
    first = datetime.fromtimestamp(moment_s, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    after = (first + timedelta(days=32)).replace(day=1)
    return int(first.timestamp()), int(after.timestamp())


def told(moment_s: float) -> str:
    """A moment as ISO 8601 in UTC, `2026-11-20T17:00:00Z`."""
    return datetime.fromtimestamp(int(moment_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
