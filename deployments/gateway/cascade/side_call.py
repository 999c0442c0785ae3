"""Send a question of our own to a tier, beside the request's answer."""

from collections.abc import Mapping
from typing import Any

import orjson

from deployments.gateway.attempt import Attempt
from deployments.gateway.backends import lane, prefix_index
from deployments.gateway.backends.tier import TierReplicas


async def asked(
    attempt: Attempt, replicas: TierReplicas, body: Mapping[str, Any], timeout_s: float
) -> dict[str, Any]:
    """The engine's answer to a chat; raises `HansomError`, `OSError` or `ValueError` without one.

    The attempt is the caller's to close.
    """
    prompt, in_ = prefix_index.read(body), attempt.call.lane
    replica = replicas.choose(prompt=prompt)
    attempt.sent_to(replicas, replica)
    sent = {
        "content-type": "application/json",
        "x-request-id": attempt.engine_request_id,
        **lane.marks(in_),
    }
    raw = orjson.dumps(lane.queued(body, in_))
    path = "/v1/chat/completions"
    exchange = await replicas.post(replica, path, raw, sent, timeout_s, in_, prompt)
    try:
        raw = await exchange.read()
        if exchange.status != 200:
            raise ValueError(f"HTTP {exchange.status}")
        answer: dict[str, Any] = orjson.loads(raw)
        return answer
    finally:
        exchange.close()
