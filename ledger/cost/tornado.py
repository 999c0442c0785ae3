"""Sort the effect of each driver on a workload's daily cost, for a tornado plot.

Promised: pure; one lever moves at a time and the others stay; the widest swing is first.
Not covered: which levers there are (`ledger.cost.sensitivity`), and levers pulled together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ledger.cost.model import Workload, cost


@dataclass(frozen=True, slots=True)
class End:
    """One end of a lever: what it is set to, and the workload that follows."""

    label: str
    workload: Workload


@dataclass(frozen=True, slots=True)
class Lever:
    """Something that can be changed: the end that is meant to save, what it is now, the other end.

    It need not save: two small fleets can cost more than one.
    """

    name: str
    low: End
    base: str
    high: End
    source: str


@dataclass(frozen=True, slots=True)
class Swing:
    """What a lever does: USD a day at its two ends; `base_usd_per_day` is the same for all."""

    name: str
    low: str
    base: str
    high: str
    low_usd_per_day: Fraction
    base_usd_per_day: Fraction
    high_usd_per_day: Fraction
    source: str

    @property
    def width_usd_per_day(self) -> Fraction:
        """From the cheapest of the three to the dearest."""
        ends = (self.low_usd_per_day, self.base_usd_per_day, self.high_usd_per_day)
        return max(ends) - min(ends)


def tornado(base: Workload, levers: Sequence[Lever]) -> tuple[Swing, ...]:
    """Each lever's swing, the widest first; equal ones by name."""
    now = cost(base).usd_per_day
    swings = [
        Swing(
            lever.name,
            lever.low.label,
            lever.base,
            lever.high.label,
            cost(lever.low.workload).usd_per_day,
            now,
            cost(lever.high.workload).usd_per_day,
            lever.source,
        )
        for lever in levers
    ]
    return tuple(sorted(swings, key=lambda one: (-one.width_usd_per_day, one.name)))
