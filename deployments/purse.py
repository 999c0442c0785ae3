"""Who pays, whether they may, and what it came to; here everybody may, and nobody counts.

Not covered: keys and limits, which accounts keep (`deployments.accounts`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.call import Lane
from deployments.payer import stranger
from ledger.limits import Amount, Payer
from ledger.line import Kind, LedgerLine


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that wants to be served, as its line would tell it.

    `life_s` is how long it may last, `arrived_s` on the monotonic clock.
    """

    payer: Payer
    call_id: str
    request_id: str
    endpoint: str
    requested: str
    arrived_s: float
    life_s: float
    kind: Kind = Kind.ANSWER
    stream: bool = False
    lane: Lane = Lane.INTERACTIVE


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Place:
    """What a request was granted; `end` must be called when it is over, and never raises.

    `budget_left` is the share of its tightest hard budget, `warning` what a response header says
    of soft ones, empty when there is nothing to say. `binding` says that what was granted must not
    be exceeded: a hard limit of tokens or money rests on it.
    """

    end: Callable[[], None] = _nothing
    budget_left: float | None = None
    warning: str = ""
    binding: bool = False


NO_PLACE = Place()


class Purse:
    """Nothing is limited, so nothing is kept."""

    async def identify(self, headers: Mapping[str, str]) -> Payer:
        """Who pays; raises `InvalidKey`, or `Unavailable` when that cannot be found out."""
        return stranger(headers)

    async def reserve(self, visit: Visit, worst: Callable[[], Amount]) -> Place:
        """Grant what the request may take at most, which `worst` tells where it matters.

        Raises `LimitReached`, with the request's ledger line written, or `Unavailable`.
        """
        del visit, worst
        return NO_PLACE

    async def again(self, call_id: str) -> bool:
        """Grant as much again, for a try after one that may have used the first; False: no room."""
        del call_id
        return True

    def hold(self, call_id: str) -> None:
        """Keep what that call was granted beyond its end, until `release`. Never raises."""

    def release(self, call_id: str) -> None:
        """What it was held for is over. Never raises."""

    def begun(self, call_id: str) -> None:
        """An attempt of that call has begun: a line of it will come. Never raises."""

    def spent(self, line: LedgerLine) -> None:
        """That line is written down. Never waits, never raises."""


NO_PURSE = Purse()
