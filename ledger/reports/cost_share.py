"""Divide a self-hosted tier's bill by the GPU-seconds that each tenant used.

Promised: whole micro-USD that add up to the bill exactly (largest remainder); idle time is shared
in the same proportion, since the bill is of all paid hours. Who used nothing pays nothing.
Not covered: the bill itself (`ledger.cost.model.fleet`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction

from core.ledger_line import NOT_MADE, LedgerLine

NOBODY = "(nobody)"  # holds the bill of a tier that nobody used


def held_s(line: LedgerLine) -> float:
    """Seconds that an attempt held its engine: its end less its beginning, never below 0."""
    if line.kind in NOT_MADE or line.cache == "flight":  # who waited for another and left, too
        return 0.0
    return max(0.0, line.total_s - (line.queue_s or 0.0))


def gpu_seconds(lines: Iterable[LedgerLine], tier: str) -> dict[str, float]:
    """Engine-seconds of each tenant's attempts on `tier`."""
    held: defaultdict[str, float] = defaultdict(float)
    for line in lines:
        if line.tier == tier:
            held[line.tenant] += held_s(line)
    return dict(held)


def shares(bill_usd_micros: int, held: Mapping[str, float]) -> dict[str, int]:
    """Each tenant's micro-USD of the bill; equal remainders go by name.

    Raises `ValueError` for a negative bill or negative seconds.
    """
    if bill_usd_micros < 0 or any(seconds < 0 for seconds in held.values()):
        raise ValueError("a bill and the seconds of its tenants must be 0 or more")
    exact = {tenant: Fraction(seconds) for tenant, seconds in held.items()}
    whole = sum(exact.values(), Fraction(0))
    if not whole:
        return dict.fromkeys(held, 0) | {NOBODY: bill_usd_micros}
    due = {tenant: bill_usd_micros * seconds / whole for tenant, seconds in exact.items()}
    paid = {tenant: int(amount) for tenant, amount in due.items()}
    left = bill_usd_micros - sum(paid.values())
    by_remainder = sorted(due, key=lambda tenant: (paid[tenant] - due[tenant], tenant))
    for tenant in by_remainder[:left]:
        paid[tenant] += 1
    return paid
