"""Build a decision's `View` from the reports of replicas and gateways.

Each replica tells a `LoadReport` several times a second, as flat numbers with the time that it made
them (Serve's `record_autoscaling_stats`); counts are totals since the replica began, so that a
report that is lost costs nothing. How old news are is measured here, by when they changed: the
clocks of other machines are compared with nobody's.

Promises: pure; whatever a report holds, nothing is raised. A replica that tells nothing is in the
view with `at_s` 0, which is stale. Traffic is told for the time in which a replica told anything,
or in which there was none to tell and the gateways would have held every call; else `seconds` is 0.
Not covered: the last calls of a replica that goes, between its last report and its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from autoscale.policy.signals import MOST_REPLICAS, Load, Traffic, View

_NOTHING = -1.0
"""Stands for None, as Serve takes numbers only."""
_MOST = 1e15


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One replica at `at_s`, on its own clock; see `Load`. The counts are since it began."""

    at_s: float
    running: int = 0
    waiting: int = 0
    waiting_tokens: int = 0
    kv_use_ratio: float | None = None
    preemptions: int = 0
    input_tokens_per_s: float = 0.0
    output_tokens_per_s: float = 0.0
    ttft_s: float | None = None
    tpot_s: float | None = None
    batch_running: int = 0
    batch_waiting: int = 0
    arrived: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    finished: int = 0
    output_tokens: int = 0
    batch_arrived: int = 0
    batch_input_tokens: int = 0
    judged: int = 0
    missed: int = 0

    def as_stats(self) -> dict[str, float]:
        """Flat and all numbers, as Serve takes them from a replica."""
        told = asdict(self)
        return {name: _NOTHING if one is None else float(one) for name, one in told.items()}

    @classmethod
    def of(cls, stats: Mapping[str, float]) -> LoadReport | None:
        """What `as_stats` made; None when it has no time. Odd numbers become 0, or None."""
        if not (at_s := _number(stats.get("at_s"))):
            return None
        known: dict[str, Any] = {name: _number(stats.get(name)) or 0.0 for name in _COUNTS}
        known = {name: value if name in _RATES else int(value) for name, value in known.items()}
        known |= {name: _number(stats.get(name)) for name in _OPTIONAL}
        return cls(at_s=at_s, **known)


_OPTIONAL = ("kv_use_ratio", "ttft_s", "tpot_s")
_RATES = ("input_tokens_per_s", "output_tokens_per_s")
_COUNTS = tuple(one.name for one in fields(LoadReport) if one.name not in ("at_s", *_OPTIONAL))
_TOTALS = (
    "arrived", "input_tokens", "cached_tokens", "finished", "output_tokens", "batch_arrived",
    "batch_input_tokens", "judged", "missed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeldCalls:
    """Calls that wait at the gateways for a first replica, and their prompt tokens."""

    calls: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """One replica: when it was requested, and its last report, which came at `heard_s`."""

    started_s: float
    heard_s: float = 0.0
    stamp_s: float = 0.0
    totals: tuple[int, ...] = (0,) * len(_TOTALS)


@dataclass(frozen=True, slots=True)
class FleetState:
    """What is remembered from one view to the next; JSON-able.

    `asked` holds when each replica that is not ready was asked for, oldest first; `told_s` is up
    to when traffic has been told, None before the first view.
    """

    told_s: float | None = None
    asked: tuple[float, ...] = ()
    known: dict[str, Known] = field(default_factory=dict)


def observe(
    now_s: float,
    target: int,
    ready: Iterable[str],
    reports: Mapping[str, LoadReport],
    held: HeldCalls,
    fleet: FleetState,
) -> tuple[View, FleetState]:
    """The view at `now_s` on our own clock, of `target` replicas of which `ready` are."""
    ids = sorted(set(ready))
    asked, known = list(fleet.asked), dict[str, Known]()
    fresh = False
    totals = [0] * len(_TOTALS)
    for id in ids:
        before = fleet.known.get(id) or Known(asked.pop(0) if asked else now_s)
        known[id], counts = _heard(before, reports.get(id), now_s)
        fresh |= known[id] != before
        # A replica that was there before we were has counted what is over.
        if fleet.told_s is not None:
            totals = [total + count for total, count in zip(totals, counts, strict=True)]
    asked_s = _asked(asked, target - len(ids), now_s)
    told = fleet.told_s is None or fresh or not ids
    seconds = max(0.0, now_s - fleet.told_s) if told and fleet.told_s is not None else 0.0
    view = View(
        now_s=now_s,
        target=target,
        ready=tuple(_load(id, known[id], reports.get(id)) for id in ids),
        starting=asked_s,
        traffic=Traffic(
            seconds=seconds,
            held=held.calls,
            held_tokens=held.tokens,
            **dict(zip(_TOTALS, totals, strict=True)),
        ),
    )
    return view, FleetState(now_s if told else fleet.told_s, asked_s, known)


def asked_for(fleet: FleetState, replicas: int, now_s: float) -> FleetState:
    """The fleet, once so many replicas are to be there."""
    return replace(fleet, asked=_asked(fleet.asked, replicas - len(fleet.known), now_s))


def _asked(asked: Sequence[float], missing: int, now_s: float) -> tuple[float, ...]:
    """When each replica that is missing was asked for; what was asked for last goes back first.

    At most `MOST_REPLICAS` times, because a target of billions would fill the memory.
    """
    missing = min(missing, MOST_REPLICAS)
    return (*asked[: max(0, missing)], *[now_s] * (missing - len(asked)))


def _heard(before: Known, report: LoadReport | None, now_s: float) -> tuple[Known, list[int]]:
    """One replica after its report, and what it counted since the last; less than that is 0."""
    if report is None or report.at_s == before.stamp_s:
        return before, [0] * len(_TOTALS)
    totals = tuple(getattr(report, name) for name in _TOTALS)
    counts = [max(0, now - old) for now, old in zip(totals, before.totals, strict=True)]
    return Known(before.started_s, now_s, report.at_s, totals), counts


def _load(id: str, known: Known, report: LoadReport | None) -> Load:
    if report is None:
        return Load(id, at_s=0.0, started_s=known.started_s, kv_use_ratio=None)
    return Load(
        id=id,
        at_s=known.heard_s,
        started_s=known.started_s,
        running=report.running,
        waiting=report.waiting,
        waiting_tokens=report.waiting_tokens,
        kv_use_ratio=report.kv_use_ratio,
        preemptions=report.preemptions,
        input_tokens_per_s=report.input_tokens_per_s,
        output_tokens_per_s=report.output_tokens_per_s,
        ttft_s=report.ttft_s,
        tpot_s=report.tpot_s,
        batch_running=report.batch_running,
        batch_waiting=report.batch_waiting,
    )


def _number(value: object) -> float | None:
    """A finite number that is not negative, at most `_MOST`; None for anything else."""
    if not isinstance(value, int | float) or math.isnan(value) or value < 0:
        return None
    return min(float(value), _MOST)
