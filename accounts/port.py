"""The gateway's accounts interface, and a version that allows everything and counts nothing.

Not covered: keys and limits, which accounts keep (`accounts.reserve`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from accounts.limits import Amount, Payer
from accounts.payer import without_key
from core.call import Lane
from core.ledger_line import Kind, LedgerLine


@dataclass(frozen=True, slots=True)
class AccountedRequest:
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
class Reservation:
    """What a request was granted; `end` must be called when it is over, and never raises.

    `budget_left` is the share of its tightest hard budget, `warning` what a response header says
    of soft ones, empty when there is nothing to say. `binding` says that what was granted must not
    be exceeded: a hard limit of tokens or money rests on it.
    """

    end: Callable[[], None] = _nothing
    budget_left: float | None = None
    warning: str = ""
    binding: bool = False


NO_RESERVATION = Reservation()


class AccountsPort(Protocol):
    """The gateway's accounts: who pays, what a request may take, and what it took."""

    async def identify(self, headers: Mapping[str, str]) -> Payer:
        """Return the payer; raises `InvalidKey`, or `Unavailable` when Redis cannot be asked."""

    async def reserve(self, visit: AccountedRequest, worst: Callable[[], Amount]) -> Reservation:
        """Grant what the request may take at most, which `worst` tells where it matters.

        Raises `LimitReached`, with the request's ledger line written, or `Unavailable`.
        """

    async def reserve_again(self, call_id: str) -> bool:
        """Grant as much again, for a try after one that may have used the first; False: no room."""

    def hold(self, call_id: str) -> None:
        """Keep what that call was granted beyond its end, until `release`. Never raises."""

    def release(self, call_id: str) -> None:
        """What it was held for is over. Never raises."""

    def begun(self, call_id: str) -> None:
        """An attempt of that call has begun: a line of it will come. Never raises."""

    def spent(self, line: LedgerLine) -> None:
        """That line is written down. Never waits, never raises."""


class NoAccounts:
    """Accounts that allow everything and count nothing."""

    async def identify(self, headers: Mapping[str, str]) -> Payer:
        """See `AccountsPort`."""
        return without_key(headers)

    async def reserve(self, visit: AccountedRequest, worst: Callable[[], Amount]) -> Reservation:
        """See `AccountsPort`."""
        del visit, worst
        return NO_RESERVATION

    async def reserve_again(self, call_id: str) -> bool:
        """See `AccountsPort`."""
        del call_id
        return True

    def hold(self, call_id: str) -> None:
        """See `AccountsPort`."""

    def release(self, call_id: str) -> None:
        """See `AccountsPort`."""

    def begun(self, call_id: str) -> None:
        """See `AccountsPort`."""

    def spent(self, line: LedgerLine) -> None:
        """See `AccountsPort`."""


NO_ACCOUNTS = NoAccounts()
