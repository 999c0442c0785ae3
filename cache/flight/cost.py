"""Divide the cost of a shared generation among its callers.

Promised: the shares add up to the cost to the micro-USD, no two differ by more than one, and the
first callers pay the odd ones. With equal claims that is the method of the largest remainder.
Not covered: callers that leave early. They pay nothing, since a ledger line is written when its
caller leaves and is never changed, and all callers of a key are one tenant.
"""

from dataclasses import dataclass

from core.call import Usage


@dataclass(frozen=True, slots=True)
class CostShare:
    """What a generation took, and what of it one caller pays.

    `usage` and `cost_usd_micros` are the whole generation's, `callers` how many share it. A
    caller that came after the bill was made has a share of 0.
    """

    usage: Usage
    cost_usd_micros: int
    callers: int
    share_usd_micros: int


@dataclass(frozen=True, slots=True)
class FlightResult:
    """The end of a generation as one process sees it.

    Of `callers` in all, `count` are this process's, beginning with number `first`.
    """

    usage: Usage
    cost_usd_micros: int
    callers: int
    first: int
    count: int

    def fares(self, aboard: int) -> list[CostShare]:
        """This process's part, dealt out to those who are `aboard` now, which may not be `count`.

        A process counts its callers over Redis, so the bill may know a few more or less.
        """
        shares = split(self.cost_usd_micros, self.callers)
        part = sum(shares[self.first : self.first + self.count])
        return [self.fare(share) for share in split(part, aboard)] if aboard else []

    def fare(self, share_usd_micros: int) -> CostShare:
        """The fare of a caller that pays `share_usd_micros`."""
        return CostShare(self.usage, self.cost_usd_micros, self.callers, share_usd_micros)


def split(cost_usd_micros: int, callers: int) -> list[int]:
    """Each caller's share in micro-USD; raises `ValueError` when there is no caller."""
    if callers < 1:
        raise ValueError("a cost needs a caller")
    share, odd = divmod(cost_usd_micros, callers)
    return [share + (at < odd) for at in range(callers)]
