"""The error budget of a class of traffic: adapt the level of its hits to checked outcomes.

A checked hit is one that was served, drawn at random with `sampling`'s share, and generated anyway
to be compared (`cache.semantic.compare`). Because the draw looks at no hit's outcome, the wrong
share among checked hits is an unbiased estimate of that among served ones.

Promises: pure; a state is integers that only grow between two settlings, so gateways may add to
one state in any order. A class whose evidence at its level is above the limit is at a stricter
level as soon as it is settled; one more wrong outcome never loosens. While off nothing is served
and every would-be hit is checked, which costs only a comparison: its request generates anyway.
Feedback is a biased sample: whoever says nothing counts as content, so a share of complaints is a
lower bound of the wrong share; it can tighten and ask for checks, and never loosens.
Not covered: wrong comparisons, which count as they come, and hits whose comparison tells nothing:
the estimate is that of the others; evidence that no traffic renews, for time alone forgets nothing;
and tests repeated after each outcome, which err more often than one: the simulations in the tests
say what that costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from cache.error_budget.counts import LOOSEN_MISS, Tally

# In units of 1 / limit: checks after which all counts of a level are halved; the same of the recent
# ones, which see a change that the many hide.
WINDOW, RECENT = 40, 2
# Sampling: all of the first so many after a change (at 1 %); then this number over the checks
# made, so that h hits cost about sqrt(40 h) checks; and floors: when the bound is below half the
# limit, when it is not, and when recent outcomes are above it.
FIRST, FLOOR_SURE, FLOOR_UNSURE, FLOOR_ALARMED = 20, 0.02, 0.1, 0.5


class Level(StrEnum):
    """How strictly hits are verified: a name of `Verifier.thresholds`, or not at all."""

    LOOSE = "0.025"
    STRICT = "0.01"
    OFF = "off"

    @property
    def strictness(self) -> int:
        """0 for the loosest."""
        return _ORDER.index(self)


_ORDER: Final = (Level.LOOSE, Level.STRICT, Level.OFF)


class OutcomeSource(StrEnum):
    """Where an outcome comes from: a metric's label."""

    CHECK = "check"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """The share of wrong hits that a class may have. Raises `ValueError` outside (0, 0.5)."""

    limit: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.limit < 0.5:
            raise ValueError(f"the limit must lie between 0 and 0.5 (got {self.limit})")

    @property
    def start(self) -> Level:
        """The loosest level whose frozen cut-offs were made for this limit."""
        return Level.LOOSE if self.limit >= float(Level.LOOSE) else Level.STRICT

    def checks(self, units: int) -> int:
        """The number of checks, in units of 1 / limit."""
        return math.ceil(units / self.limit)


@dataclass(frozen=True, slots=True)
class Record:
    """What was seen at one level.

    `recent` is a shorter memory of `all`, begun anew with the level; `unclear` are checks that told
    nothing. `served` estimates the hits that the others stand for; `told` of them were reported
    wrong, `told_recent` lately.
    """

    all: Tally = field(default_factory=Tally)
    recent: Tally = field(default_factory=Tally)
    served: int = 0
    told: int = 0
    told_recent: int = 0
    unclear: int = 0

    @property
    def reported(self) -> Tally:
        """Complaints among hits served."""
        return Tally(max(self.served, self.told), self.told)

    def above(self, budget: ErrorBudget) -> bool:
        """Whether any of its evidence is above the limit."""
        return any(one.above(budget.limit) for one in (self.all, self.recent, self.reported))

    def alarmed(self, budget: ErrorBudget) -> bool:
        """Whether recent outcomes are above the limit, though they prove nothing yet."""
        return self.told_recent > 0 or self.recent.wrong > budget.limit * self.recent.checked

    def failed(self, budget: ErrorBudget) -> Tally:
        """What to remember of a level left for its errors: of late only, if the rest hides them."""
        whole = Tally(self.all.checked, max(self.all.wrong, self.told))
        if self.recent.above(budget.limit) and whole.below(budget.limit):
            return self.recent
        return whole

    def decayed(self, budget: ErrorBudget) -> Record:
        """Halved where a window is full."""
        now = self
        if now.recent.checked > budget.checks(RECENT):
            now = replace(now, recent=now.recent.halved, told_recent=now.told_recent // 2)
        if now.all.checked > budget.checks(WINDOW):
            now = replace(
                now,
                all=now.all.halved,
                served=now.served // 2,
                told=(now.told + 1) // 2,
                unclear=now.unclear // 2,
            )
        return now


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of a class. `past` is what failed while it was served.

    `level` is None before the first change; `epoch` counts settlings that changed anything.
    """

    level: Level | None = None
    epoch: int = 0
    past: Tally = field(default_factory=Tally)
    records: Mapping[Level, Record] = field(default_factory=lambda: dict.fromkeys(Level, Record()))

    def with_record(self, level: Level, record: Record) -> State:
        """With another record at this level."""
        return replace(self, records={**self.records, level: record})


@dataclass(frozen=True, slots=True)
class Change:
    """A class goes from one level to another, for a reason in words. Log it."""

    name: str
    before: Level
    after: Level
    reason: str


def level(state: State, budget: ErrorBudget) -> Level:
    """The level at which hits of the class are verified now."""
    return state.level or budget.start


def sampling(state: State, budget: ErrorBudget) -> float:
    """The share in (0, 1] of served hits to check; 1 while off, where hits are not served.

    Checks that tell nothing cost as much as others, so they lower it, too.
    """
    now = level(state, budget)
    record = state.records[now]
    first = max(FIRST, math.ceil(FIRST / 100 / budget.limit))
    if now is Level.OFF or record.recent.checked + record.unclear < first:
        return 1.0
    floor = FLOOR_SURE if record.all.below(budget.limit / 2) else FLOOR_UNSURE
    if record.alarmed(budget):
        floor = FLOOR_ALARMED
    return max(floor, min(1.0, first / max(record.all.checked + record.unclear, first)))


def outcome(at: Level, wrong: bool | None, source: OutcomeSource, share: float = 1.0) -> Record:
    """What one outcome adds to the record of the level at which the hit was served.

    `wrong` is None where the answers could not be compared. `share` is that under which a check was
    drawn. Praise adds nothing: it is no random sample.
    Raises `ValueError` for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share must lie in (0, 1] (got {share})")
    if source is OutcomeSource.FEEDBACK:
        # A complaint about a hit that was not served is a mistake.
        told = int(wrong is True and at is not Level.OFF)
        return Record(told=told, told_recent=told)
    if wrong is None:
        return Record(unclear=1)
    one = Tally(1, int(wrong))
    return Record(one, one, served=0 if at is Level.OFF else round(1 / share))


def seen(state: State, at: Level, added: Record) -> State:
    """With one more outcome; sums, in any order. It still has to be settled."""
    old = state.records[at]
    return state.with_record(
        at,
        Record(
            old.all.plus(added.all),
            old.recent.plus(added.recent),
            old.served + added.served,
            old.told + added.told,
            old.told_recent + added.told_recent,
            old.unclear + added.unclear,
        ),
    )


def settle(state: State, budget: ErrorBudget, name: str = "") -> tuple[State, Change | None]:
    """The state after what its evidence calls for, and the change of level if there is one.

    At most one step looser; as many steps stricter as it takes. A level is entered with an empty
    recent memory, so that its first hits are all checked.
    """
    before = level(state, budget)
    whole = decayed(state, budget)
    now, reason = _tightened(whole, budget)
    if not reason:
        now, reason = _loosened(whole, budget)
    if now == state:
        return state, None
    now = replace(now, epoch=state.epoch + 1)
    return now, Change(name, before, level(now, budget), reason) if reason else None


def decayed(state: State, budget: ErrorBudget) -> State:
    """The state with every full window halved; what failed in the past fades with any of them."""
    now = level(state, budget)
    record = state.records[now].decayed(budget)
    faded = record.all.checked < state.records[now].all.checked
    state = state.with_record(now, record)
    if not faded:
        return state
    past = state.past.halved
    return replace(state, past=past if past.wrong < past.checked else Tally())


def _tightened(state: State, budget: ErrorBudget) -> tuple[State, str]:
    """Return the strictest level that the evidence asks for, and the reason ("" when unchanged)."""
    reason = ""
    now = level(state, budget)
    while now is not Level.OFF and (record := state.records[now]).above(budget):
        reason = _above(record, budget)
        after = _ORDER[now.strictness + 1]
        failed = record.failed(budget)
        past = failed.plus(_beside(failed, state.past, budget))
        known = _beside(past, state.records[after].all, budget)
        state = _entered(replace(state.with_record(now, Record()), past=past), after, known)
        now = after
    return state, reason


def _beside(failed: Tally, known: Tally, budget: ErrorBudget) -> Tally:
    """`known`, or nothing where it would outweigh at once what has just failed."""
    return Tally() if known.plus(failed).below(budget.limit) else known


def _loosened(state: State, budget: ErrorBudget) -> tuple[State, str]:
    """One step looser where that is earned: by all that was served, or by probes alone."""
    now = level(state, budget)
    record = state.records[now]
    if now is Level.LOOSE or record.alarmed(budget):
        return state, ""
    if now is Level.OFF and record.all.below(budget.limit):
        # What was probed are the hits of the strict level: its record starts with them, and with
        # what came in late for it.
        known = record.all.plus(state.records[Level.STRICT].all)
        state = _entered(state.with_record(now, Record()), Level.STRICT, known)
        return state, _below(record.all, budget)
    late = state.records[Level.LOOSE].all  # of hits that were served before it was left
    past = state.past.plus(late)
    whole = record.all.plus(past)
    if now is Level.STRICT and whole.below(budget.limit):
        return _entered(replace(state, past=past), Level.LOOSE, Tally()), _below(whole, budget)
    return state, ""


def _entered(state: State, at: Level, known: Tally) -> State:
    return replace(state.with_record(at, Record(all=known)), level=at)


def _above(record: Record, budget: ErrorBudget) -> str:
    kinds = ("checked", record.all), ("recently checked", record.recent)
    for kind, one in kinds:
        if one.above(budget.limit):
            return f"{one.wrong} of {one.checked} {kind} hits were wrong: above {budget.limit:.2%}"
    return f"{record.told} of about {record.served} hits were reported: above {budget.limit:.2%}"


def _below(tally: Tally, budget: ErrorBudget) -> str:
    said = f"{tally.wrong} of {tally.checked} checked hits were wrong"
    return f"{said}: below {budget.limit:.2%} with {1 - LOOSEN_MISS:.0%} confidence"
