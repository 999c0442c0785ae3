"""Map an engine's error to one of ours, and say whether another replica or tier may help.

Promises: the kind of an error is known by its status, its `code` and `param`, and by what the
engine says that it can do; never by its words, which are passed on.
"""

import orjson

from core.call import Call
from core.capability import UNKNOWN, Capabilities, Lack, lacks, needs_of, not_supported
from core.errors import BadRequest, EngineFailed, HansomError, NotSupported, Unavailable
from deployments.gateway.backends.exchange import Exchange
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.names import LENGTH_PARAMS

TOO_LONG = "context_length_exceeded"


async def refusal(
    call: Call, replicas: TierReplicas, replica: Replica, upstream: Exchange
) -> HansomError:
    """The error for an answer that is not 200.

    A refusal that only this tier has is `NotSupported` or `ContextTooLong`; any other is what every
    tier would say, a plain `BadRequest`.
    """
    error = read(upstream.status, await upstream.read(), replicas.tier)
    if type(error) is not BadRequest or error.code is not None:
        return error
    lacking = lacks(needs_of(call.endpoint, call.body), await _told(replicas, replica))
    return not_supported(error.message, lacking) if lacking else error


def read(status: int, raw: bytes, tier: str) -> HansomError:
    """An error status and its body as one of ours, with the engine's own words."""
    try:
        error = orjson.loads(raw)["error"]
        message, code = str(error["message"]), error.get("code")
        param = named if isinstance(named := error.get("param"), str) else None
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        message, param, code = raw.decode(errors="replace")[:500] or f"HTTP {status}", None, None
    if status in (429, 503):
        return Unavailable(
            f"Tier {tier!r} is full: {message}", code="tier_overloaded", retry_after_s=1
        )
    if status >= 500:
        return EngineFailed(f"Tier {tier!r} failed: {message}", code="engine_failed")
    if param in LENGTH_PARAMS or code == TOO_LONG:
        return not_supported(message, [Lack.CONTEXT])
    return BadRequest(message, param=param)


async def _told(replicas: TierReplicas, replica: Replica) -> Capabilities:
    """What the engine that refused can do; where it does not tell now, what its tier last told."""
    try:
        return await replicas.capabilities(replica)
    except (OSError, ValueError):
        return replicas.told or UNKNOWN


def refused_by_all(refusals: dict[str, BadRequest]) -> BadRequest:
    """The error when every tier that was tried refused for a reason of its own."""
    first, *others = refusals.values()
    if not others:
        return first
    told = " ".join(f"{tier}: {error.message}" for tier, error in refusals.items())
    same = {type(error) for error in refusals.values()} == {type(first)}
    kind = type(first) if same else NotSupported
    code = first.code if same else "not_supported"
    return kind(f"No tier can answer this request. {told}", param=first.param, code=code)
