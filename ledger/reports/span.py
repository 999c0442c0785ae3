"""Select lines by a span of time, a tenant and a tag.

Promises: pure; days and weeks are UTC, a span has its begin and not its end, so that adjacent spans
share no line. What a user wrote wrongly raises `HansomError` with one sentence.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from core.errors import HansomError

DAY_S = 86_400
_WEEK = re.compile(r"(\d{4})-?W(\d{1,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """Lines created in [`since_s`, `until_s`), wall time; None has no bound, "" every one."""

    since_s: float | None = None
    until_s: float | None = None
    tenant: str = ""
    tag: str = ""

    def __post_init__(self) -> None:
        """Raises `HansomError` for a span that ends before it begins."""
        since_s, until_s = self.since_s, self.until_s
        if since_s is not None and until_s is not None and since_s >= until_s:
            raise HansomError(
                f"The span ends ({moment(until_s)}) before it begins ({moment(since_s)})."
            )

    def words(self) -> str:
        """The span for people: `2026-11-01 00:00 to 2026-11-08 00:00 UTC, tenant acme`."""
        begin = "the first line" if self.since_s is None else moment(self.since_s)
        end = "the last line" if self.until_s is None else moment(self.until_s)
        zone = "" if self.since_s is None and self.until_s is None else " UTC"
        whose = [f", tenant {self.tenant}"] if self.tenant else []
        whose += [f", tag {self.tag}"] if self.tag else []
        return f"{begin} to {end}{zone}{''.join(whose)}"


def span(
    since: str | None,
    until: str | None,
    hours: float | None,
    now_s: float,
    tenant: str | None = None,
    tag: str | None = None,
) -> TimeSpan:
    """What the options of a command mean; raises `HansomError`."""
    if since is not None and hours is not None:
        raise HansomError("--since and --hours both say when the span begins: give one of them.")
    if hours is not None and not hours > 0:
        raise HansomError(f"--hours is more than 0 (got {hours:g}).")
    since_s = None if since is None else parse(since)
    if hours is not None:
        since_s = now_s - hours * 3600
    until_s = None if until is None else parse(until)
    return TimeSpan(since_s, until_s, tenant or "", tag or "")


def parse(text: str) -> float:
    """A UTC day, whose begin is meant, or a moment in ISO 8601; raises `HansomError`."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        raise HansomError(
            f"{text!r} is no day or moment: write 2026-11-01 or 2026-11-01T12:30 (UTC)."
        ) from None


def week(text: str) -> TimeSpan:
    """An ISO 8601 week, as 2026-W45: Monday to Sunday, UTC; raises `HansomError`."""
    found = _WEEK.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        monday = date.fromisocalendar(int(found[1]), int(found[2]), 1)
    except ValueError:
        raise HansomError(
            f"{text!r} is no week: write 2026-W45, of the weeks 1 to 52 or 53 of ISO 8601."
        ) from None
    since_s = datetime(monday.year, monday.month, monday.day, tzinfo=UTC).timestamp()
    return TimeSpan(since_s, since_s + 7 * DAY_S)


def between(text: str) -> TimeSpan:
    """A span as `A..B`, each a day or moment, B not in it; raises `HansomError`."""
    since, dots, until = text.partition("..")
    if not (since and dots and until):
        raise HansomError(f"{text!r} is no span: write 2026-11-01..2026-11-08.")
    return TimeSpan(parse(since), parse(until))


def moment(at_s: float) -> str:
    """Wall time as `2026-11-01 00:00`, UTC."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M}"


def day(number: int) -> str:
    """The date of a number of days since 1970-01-01."""
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()
