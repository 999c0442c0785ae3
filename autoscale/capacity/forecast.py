"""Plan replicas, nodes and cost of the days to come, and the day of the next GPU.

A tier's load on a day is a factor of the day that it is sized for (`autoscale.capacity.design`):

    factor = share of requests * highest hour of the day / that of the design day * (1 + headroom)
    replicas = curve(factor)                           sized by replay (`autoscale.capacity.sizing`)
    nodes = ceil(replicas / replicas on a node) + nodes that may fail

so that with so many nodes gone the rest still holds all replicas. The lower, expected and upper
count belong to the lower bound, the middle and the upper bound of the forecast.

Promises: pure; more load never needs fewer replicas or nodes, a higher hit rate never more, a
failure never fewer; lower <= expected <= upper; days are UTC dates. What there is to begin with is
what the first day's upper bound needs, unless it is told. The next GPU is needed on the first day
on which more nodes are needed than that; `earliest` goes by the upper bound.
Not covered: scaling within the day: the fleet is there day and night, and costs so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from autoscale.capacity.season import Band
from autoscale.capacity.sizing import Curve
from core.money import DAYS_PER_MONTH

HOURS_PER_MONTH = 24 * DAYS_PER_MONTH


@dataclass(frozen=True, slots=True)
class NodeKind:
    """A node with room for `replicas` of a tier, 1 at least."""

    name: str
    replicas: int
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Range:
    """lower <= expected <= upper."""

    lower: float
    expected: float
    upper: float

    def each(self, made: Callable[[float], float]) -> Range:
        """A function that never falls, of all three."""
        return Range(made(self.lower), made(self.expected), made(self.upper))

    def as_dict(self) -> dict[str, float]:
        """JSON-able."""
        return {"lower": self.lower, "expected": self.expected, "upper": self.upper}


@dataclass(frozen=True, slots=True)
class TierAsk:
    """One tier: `factor` is its share of the design day's requests, `peaks` (D,) from `start_s`.

    `have` are the nodes that are there; None is what the first day needs.
    """

    name: str
    curve: Curve
    factor: float
    peaks: Band
    start_s: float
    node: NodeKind
    have: int | None = None


@dataclass(frozen=True, slots=True)
class Margin:
    """`headroom` is a share of the load on top; `failures` nodes of each tier may be gone."""

    headroom: float = 0.0
    failures: int = 1

    def __post_init__(self) -> None:
        """ValueError for less than nothing."""
        if self.headroom < 0 or self.failures < 0:
            raise ValueError("headroom and failures must be 0 or more")


@dataclass(frozen=True, slots=True)
class Day:
    """What one tier needs on one day; `load` is a factor of the design day's highest hour."""

    date: date
    load: Range
    replicas: Range
    nodes: Range
    usd_per_hour: Range

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        told = {name: getattr(self, name).as_dict() for name in Day.__slots__ if name != "date"}
        return {"date": self.date.isoformat()} | told


@dataclass(frozen=True, slots=True)
class NextGpu:
    """The first day on which more nodes are needed, by each bound; None is not in these days."""

    earliest: date | None
    expected: date | None
    latest: date | None

    def as_dict(self) -> dict[str, str | None]:
        """JSON-able."""
        days = {"earliest": self.earliest, "expected": self.expected, "latest": self.latest}
        return {name: day.isoformat() if day else None for name, day in days.items()}


@dataclass(frozen=True, slots=True)
class TierPlan:
    """A tier's days, first to last; `have` nodes are there."""

    name: str
    node: NodeKind
    days: tuple[Day, ...]
    have: int
    next_gpu: NextGpu


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """All tiers."""

    tiers: tuple[TierPlan, ...]

    def usd_per_hour(self, day: int) -> Range:
        """The cost of all tiers on a day, counted from 0; days without an end may be negative."""
        rows = [tier.days[day].usd_per_hour for tier in self.tiers]
        return Range(
            sum(row.lower for row in rows),
            sum(row.expected for row in rows),
            sum(row.upper for row in rows),
        )

    def usd_per_month(self, day: int) -> Range:
        """A month of days like that one."""
        return self.usd_per_hour(day).each(lambda usd: usd * HOURS_PER_MONTH)

    @property
    def next_gpu(self) -> NextGpu:
        """The day of the first tier that needs another GPU."""
        tiers = [tier.next_gpu for tier in self.tiers]
        return NextGpu(
            _first([one.earliest for one in tiers]),
            _first([one.expected for one in tiers]),
            _first([one.latest for one in tiers]),
        )


def plan(asks: Sequence[TierAsk], margin: Margin) -> CapacityPlan:
    """Every tier's days."""
    return CapacityPlan(tuple(_tier(ask, margin) for ask in asks))


def nodes_for(replicas: float, node: NodeKind, failures: int) -> int:
    """Nodes that hold so many replicas with `failures` of them gone; none for no replicas."""
    return math.ceil(replicas / node.replicas) + failures if replicas else 0


def _tier(ask: TierAsk, margin: Margin) -> TierPlan:
    rows = zip(
        ask.peaks.lower.tolist(), ask.peaks.middle.tolist(), ask.peaks.upper.tolist(), strict=True
    )
    days = tuple(_day(ask, margin, n, Range(*row)) for n, row in enumerate(rows))
    have = int(days[0].nodes.upper) if ask.have is None else ask.have
    found = NextGpu(
        _first([day.date for day in days if day.nodes.upper > have]),
        _first([day.date for day in days if day.nodes.expected > have]),
        _first([day.date for day in days if day.nodes.lower > have]),
    )
    return TierPlan(ask.name, ask.node, days, have, found)


def _day(ask: TierAsk, margin: Margin, day: int, peak: Range) -> Day:
    load = peak.each(lambda factor: factor * ask.factor * (1 + margin.headroom))
    replicas = load.each(ask.curve.at)
    nodes = replicas.each(lambda count: nodes_for(count, ask.node, margin.failures))
    begin = datetime.fromtimestamp(ask.start_s, UTC).date()
    usd = nodes.each(lambda count: count * ask.node.usd_per_hour)
    return Day(begin + timedelta(days=day), load, replicas, nodes, usd)


def _first(days: Sequence[date | None]) -> date | None:
    return min((day for day in days if day is not None), default=None)
