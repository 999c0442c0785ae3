"""Alerts as a state machine: quiet, pending, firing, resolved.

Promises: pure; time is an input. An alert fires once its reading has reached the threshold at
every look of `for_s`, and is resolved once it has been below `clear` times the threshold for as
long: between the two it stays as it is, so a value that trembles around the threshold does not
flap. A firing alert is due once and then every `repeat_s`; an alert is not forgotten before
somebody was told, even when it was resolved meanwhile.
Not covered: what the readings are (`ledger.alerts.rules`), keeping the state and sending.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Rule(StrEnum):
    """What is watched; the names are those of the settings."""

    SPEND_RATE = "spend_rate"
    BUDGET_BURN = "budget_burn"
    COST_PER_SUCCESS = "cost_per_success"
    HIT_RATE_FALL = "hit_rate_fall"
    ROUTE_MIX_DRIFT = "route_mix_drift"
    RETRY_STORM = "retry_storm"
    TTFT_P95 = "ttft_p95"


class Phase(StrEnum):
    """Where an alert stands; a quiet one has no standing at all."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


Key = tuple[Rule, str]


@dataclass(frozen=True, slots=True)
class RuleReading:
    """One rule's figure for one subject, now; more is worse.

    `counted` is how many requests, attempts or streams it rests on, `least` how many it needs.
    """

    rule: Rule
    subject: str
    value: float
    threshold: float
    counted: int
    least: int
    words: str

    @property
    def key(self) -> Key:
        """What makes two readings the same alert's."""
        return (self.rule, self.subject)

    @property
    def level(self) -> float:
        """1 or more is reason to fire: the value and the sample must both be there."""
        return min(self.value / self.threshold, self.counted / self.least)


@dataclass(frozen=True, slots=True)
class Alert:
    """The content of a notice. `since_s` (wall time) is when it began to fire; see `AlertState`."""

    rule: Rule
    subject: str
    since_s: float
    value: float
    threshold: float
    words: str


@dataclass(frozen=True, slots=True)
class AlertState:
    """Where one alert stands, between two looks.

    While it is pending, `alert.since_s` is when the threshold was first reached. `fine_since_s` is
    since when a firing one is below where it clears; `told_s` when its firing was last told.
    """

    alert: Alert
    phase: Phase
    fine_since_s: float | None = None
    told_s: float | None = None

    @property
    def key(self) -> Key:
        """The alert's identity."""
        return (self.alert.rule, self.alert.subject)


def step(
    standings: Iterable[AlertState],
    readings: Iterable[RuleReading],
    for_s: Mapping[Rule, float],
    clear: float,
    now_s: float,
) -> list[AlertState]:
    """Where all alerts stand after this look, in order of rule and subject.

    A subject without a reading (no traffic, or its rule was switched off) counts as fine. A rule
    that is missing in `for_s` holds at once.
    """
    before = {standing.key: standing for standing in standings}
    now = {reading.key: reading for reading in readings}
    after = (
        _advance(before.get(key), now.get(key), for_s.get(key[0], 0.0), clear, now_s)
        for key in sorted(before.keys() | now.keys())
    )
    return [standing for standing in after if standing is not None]


def firing(standings: Iterable[AlertState]) -> list[Alert]:
    """The alerts that fire."""
    return [standing.alert for standing in standings if standing.phase is Phase.FIRING]


def due(standings: Iterable[AlertState], repeat_s: float, now_s: float) -> list[AlertState]:
    """Those to tell now: new ones, those that still fire after `repeat_s`, and resolved ones."""
    return [
        standing
        for standing in standings
        if standing.phase is Phase.RESOLVED
        or (
            standing.phase is Phase.FIRING
            and (standing.told_s is None or now_s - standing.told_s >= repeat_s)
        )
    ]


def told(
    standings: Iterable[AlertState], notices: Sequence[AlertState], now_s: float
) -> list[AlertState]:
    """Note that `notices` were delivered: firing alerts store when, resolved ones are removed."""
    keys = {notice.key for notice in notices}
    return [
        replace(standing, told_s=now_s) if standing.key in keys else standing
        for standing in standings
        if not (standing.key in keys and standing.phase is Phase.RESOLVED)
    ]


def _advance(
    standing: AlertState | None,
    reading: RuleReading | None,
    for_s: float,
    clear: float,
    now_s: float,
) -> AlertState | None:
    level = reading.level if reading is not None else 0.0
    if standing is not None and standing.phase is Phase.FIRING:
        return _while_firing(standing, reading, level >= clear, for_s, now_s)
    if reading is None or level < 1:
        # A resolved alert stays until its notice was delivered.
        resolved = standing is not None and standing.phase is Phase.RESOLVED
        return standing if resolved else None
    if standing is None:
        standing = AlertState(_alert(reading, now_s), Phase.PENDING)
    since_s = standing.alert.since_s
    if standing.phase is Phase.RESOLVED:
        # Nobody has heard of the end: it goes on, and what was told of its firing stays told.
        return AlertState(_alert(reading, since_s), Phase.FIRING, told_s=standing.told_s)
    if now_s - since_s >= for_s:
        return AlertState(_alert(reading, now_s), Phase.FIRING)
    return AlertState(_alert(reading, since_s), Phase.PENDING)


def _while_firing(
    standing: AlertState, reading: RuleReading | None, holds: bool, for_s: float, now_s: float
) -> AlertState:
    if reading is not None:
        standing = replace(standing, alert=_alert(reading, standing.alert.since_s))
    if holds:
        return replace(standing, fine_since_s=None)
    fine_since_s = now_s if standing.fine_since_s is None else standing.fine_since_s
    phase = Phase.RESOLVED if now_s - fine_since_s >= for_s else Phase.FIRING
    return replace(standing, phase=phase, fine_since_s=fine_since_s)


def _alert(reading: RuleReading, since_s: float) -> Alert:
    return Alert(
        reading.rule,
        reading.subject,
        since_s,
        reading.value,
        reading.threshold,
        reading.words,
    )
