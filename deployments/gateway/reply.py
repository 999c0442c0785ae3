"""The pipeline's reply to the HTTP layer, and the headers that explain it."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

import orjson

from core.call import Call, Decision
from core.errors import HansomError
from core.money import usd
from core.settings.load import Tier

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
STREAMED = {"content-type": SSE, "cache-control": "no-cache", "x-accel-buffering": "no"}
"""Headers of every stream; nginx would otherwise hold tokens back until its buffer is full."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, headers, and a body: whole, or a stream of blocks of whole events.

    Whoever holds a streamed reply must run its iterator to the end or close it: closing aborts
    the engine's work and writes the ledger line.
    """

    status: int
    body: bytes | AsyncGenerator[bytes, None]
    headers: Mapping[str, str] = field(default_factory=dict)


def error_reply(error: HansomError) -> Reply:
    """An error as OpenAI's clients expect it."""
    sent = {"content-type": JSON}
    if error.status == 401:
        sent["www-authenticate"] = 'Bearer realm="hansom"'
    if error.status == 415:
        sent["accept-encoding"] = "gzip, deflate"
    if error.retry_after_s is not None:
        sent["retry-after"] = str(error.retry_after_s)
    return Reply(error.status, orjson.dumps(error.body()), sent)


def headers(
    call: Call, decision: Decision, tier: Tier, *, cache: str, cost_usd_micros: int | None = None
) -> dict[str, str]:
    """The headers of one answer; a stream's cost comes at its end (`closing_object`)."""
    sent = {
        **(STREAMED if call.stream else {"content-type": JSON}),
        "x-hansom-tier": tier.name,
        "x-hansom-model": tier.model,
        "x-hansom-route-reason": f"{decision.code}; {decision.reason}",
        "x-hansom-cache": "miss" if cache == "off" else cache,
    }
    if decision.difficulty is not None:
        sent["x-hansom-difficulty"] = f"{decision.difficulty:.4f}"
    if decision.version:
        sent["x-hansom-router"] = decision.version
    if not call.stream and cost_usd_micros is not None:
        sent["x-hansom-cost-usd"] = usd(cost_usd_micros)
    return sent


def closing_object(
    call: Call, tier: Tier, *, cache: str, cost_usd_micros: int
) -> dict[str, object]:
    """The `hansom` object in a stream's last chunk; the openai client keeps it as an extra."""
    return {
        "request_id": call.request_id,
        "tier": tier.name,
        "model": tier.model,
        "cache": "miss" if cache == "off" else cache,
        "cached": cache in ("exact", "semantic"),
        "cost_usd": usd(cost_usd_micros),
    }
