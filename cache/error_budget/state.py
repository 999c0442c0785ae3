"""Store a budget's state as a hash of integers, and two states' difference as increments.

Promises: pure; `from_fields(fields(state)) == state`. Fields are sums: increments from several
gateways may be added in any order, and a settling is added as the difference that it makes, so
that outcomes counted meanwhile stay. What is zero is left out; fields that are not known are
passed over.
Not covered: two settlings of one state at once; the `epoch` is there to let one of them win.
"""

from __future__ import annotations

from collections.abc import Mapping

from cache.error_budget.budget import Level, Record, State
from cache.error_budget.counts import Tally

EPOCH = "epoch"
_LEVELS = tuple(Level)
_NAMES = ("checked", "wrong", "recent", "recent_wrong", "served", "told", "told_recent", "unclear")


def fields(state: State) -> dict[str, int]:
    """Field names with their integers, without zeros. A level is its number, counted from 1."""
    flat = {
        "level": _LEVELS.index(state.level) + 1 if state.level else 0,
        EPOCH: state.epoch,
        "past:checked": state.past.checked,
        "past:wrong": state.past.wrong,
    }
    for level, record in state.records.items():
        values = (
            *(record.all.checked, record.all.wrong),
            *(record.recent.checked, record.recent.wrong),
            *(record.served, record.told, record.told_recent, record.unclear),
        )
        flat |= {f"{level}:{name}": value for name, value in zip(_NAMES, values, strict=True)}
    return {name: value for name, value in flat.items() if value}


def difference(before: State, after: State) -> dict[str, int]:
    """What to add to each field of one state to get the other; without zeros."""
    old, new = fields(before), fields(after)
    added = {name: new.get(name, 0) - old.get(name, 0) for name in sorted(old.keys() | new.keys())}
    return {name: value for name, value in added.items() if value}


def from_fields(raw: Mapping[bytes, bytes]) -> State:
    """The state of a Redis hash. Raises `ValueError` for counts that cannot be."""
    flat = {name.decode("utf-8", "replace"): int(value) for name, value in raw.items()}
    if any(value < 0 for value in flat.values()):
        raise ValueError("a budget has a count below zero")
    number = flat.get("level", 0)
    if number > len(_LEVELS):
        raise ValueError(f"a budget has no level {number}")
    return State(
        level=_LEVELS[number - 1] if number else None,
        epoch=flat.get(EPOCH, 0),
        past=Tally(flat.get("past:checked", 0), flat.get("past:wrong", 0)),
        records={level: _record(flat, level) for level in _LEVELS},
    )


def _record(flat: Mapping[str, int], level: Level) -> Record:
    checked, wrong, recent, recent_wrong, *rest = (
        flat.get(f"{level}:{name}", 0) for name in _NAMES
    )
    return Record(Tally(checked, wrong), Tally(recent, recent_wrong), *rest)
