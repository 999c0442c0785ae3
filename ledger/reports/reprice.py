"""Price past attempts by another price table, or by another day of the same one.

Promised: pure and exact: each attempt is rounded as its ledger line was, and lines are not changed.
An attempt has the price of the moment it began, as when it was recorded; `as_of_s` takes the prices
of one moment for all. An attempt that the table has no price for is counted and left out of both
sums.
Not covered: lines of answers that were replayed or shared: what they cost is a matter between
callers and adds up to 0 (`cache_hit`, `joined`, `credit`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from core.call import Usage
from core.ledger_line import LedgerLine
from core.settings.prices import NoPrice, PriceTable


@dataclass(frozen=True, slots=True)
class Metered:
    """What is needed of a line to cost it again; `begun_s` is wall time."""

    tier: str
    model: str
    begun_s: float
    usage: Usage
    cost_usd_micros: int

    @classmethod
    def of(cls, line: LedgerLine) -> "Metered":
        """Sum the costs of a whole line."""
        begun_s = line.created_s - line.total_s + (line.queue_s or 0.0)
        return cls(line.tier, line.model, begun_s, line.usage, line.cost_usd_micros)


@dataclass(slots=True)
class Repriced:
    """One model's day. `unpriced` attempts are in neither sum; `versions` were applied."""

    model: str
    day: date
    attempts: int = 0
    unpriced: int = 0
    recorded_usd_micros: int = 0
    repriced_usd_micros: int = 0
    unpriced_usd_micros: int = 0
    versions: set[str] = field(default_factory=set)

    @property
    def difference_usd_micros(self) -> int:
        """What the table asks above what was recorded."""
        return self.repriced_usd_micros - self.recorded_usd_micros


def reprice(
    attempts: Iterable[Metered],
    table: PriceTable,
    entries: Mapping[str, str] | None = None,
    as_of_s: float | None = None,
) -> list[Repriced]:
    """Sums by model and UTC day, in order.

    `entries` names a tier's entry in the table where that is not its model's name.
    """
    found: dict[tuple[str, date], Repriced] = {}
    for one in attempts:
        day = datetime.fromtimestamp(one.begun_s, UTC).date()
        row = found.setdefault((one.model, day), Repriced(one.model, day))
        row.attempts += 1
        moment_s = one.begun_s if as_of_s is None else as_of_s
        try:
            price = table.at((entries or {}).get(one.tier, one.model), moment_s)
        except NoPrice:
            row.unpriced += 1
            row.unpriced_usd_micros += one.cost_usd_micros
            continue
        row.recorded_usd_micros += one.cost_usd_micros
        row.repriced_usd_micros += price.cost_usd_micros(one.usage)
        row.versions.add(price.version)
    return [found[key] for key in sorted(found)]
