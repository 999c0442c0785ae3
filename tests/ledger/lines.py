"""Lines for tests, and waiting for what a task does with them."""

import asyncio
from collections.abc import Callable
from typing import Any

from core.call import Usage
from core.ledger_line import Kind, LedgerLine


def line(request: int | str, attempt: int = 0, **changes: Any) -> LedgerLine:
    fields: dict[str, Any] = {
        "kind": Kind.ANSWER,
        "tenant": "acme",
        "endpoint": "chat/completions",
        "requested": "auto",
        "tier": "small",
        "model": "qwen",
        "usage": Usage(100, 20, 30),
        "cost_usd_micros": 10,
        "saved_usd_micros": 40,
        "cache": "miss",
        "total_s": 1.5,
        "created_s": 1_700_000_000.0,
    }
    return LedgerLine(
        call_id=f"c{request}", request_id=f"r{request}", attempt=attempt, **(fields | changes)
    )


async def until(condition: Callable[[], object]) -> None:
    """Wait for another task or process; `TimeoutError` after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event to set
            await asyncio.sleep(0.001)
