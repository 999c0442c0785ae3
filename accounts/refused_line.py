"""Make the ledger line of a request that a limit refused."""

from accounts.limits import LimitRefusal
from accounts.port import AccountedRequest
from core.ledger_line import LedgerLine, Outcome
from core.ports import Clock

GATEWAY_TIER, NO_MODEL = "gateway", "none"


def refused_line(visit: AccountedRequest, refusal: LimitRefusal, clock: Clock) -> LedgerLine:
    """What is written of `refusal`."""
    payer = visit.payer
    total_s = clock.monotonic_s() - visit.arrived_s
    return LedgerLine(
        call_id=visit.call_id,
        request_id=visit.request_id,
        attempt=0,
        kind=visit.kind,
        tenant=payer.tenant,
        endpoint=visit.endpoint,
        requested=visit.requested,
        tier=GATEWAY_TIER,
        model=NO_MODEL,
        key=payer.key,
        team=payer.team,
        tags=payer.tags,
        route_code="refused",
        route_reason=refusal.words,
        lane=visit.lane,
        stream=visit.stream,
        total_s=total_s,
        outcome=Outcome.REFUSED,
        error_code=refusal.code,
        created_s=clock.wall_s(),
    )
