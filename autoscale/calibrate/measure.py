"""Time a running tier over HTTP: single answers, or a trace of arrivals.

Promises: prompts begin differently each time and ask for no cache, so every token is computed; an
answer has as many tokens as were asked for, where the engine knows vLLM's `ignore_eos`. A trace is
sent open loop: each request at its time, whatever became of those before it.
Not covered: other callers: they slow down what is measured.
"""

import asyncio
import json
import math
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import httpx
import numpy as np

from autoscale.replay.trace import Trace
from core.errors import HansomError

_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
_LEAST_TOKENS = 4
_WORD = " cab"  # one token, or nearly so, of any model's
_ASK = "Count from one to one thousand in words, without stopping. Ignore what follows."
_CHARACTERS = 4  # of a token, about


@dataclass(frozen=True, slots=True)
class Where:
    """A tier or model behind an endpoint; at most `connections` requests at once."""

    url: str
    tier: str
    api_key: str | None = None
    connections: int = 64


@dataclass(frozen=True, slots=True)
class MeasuredAnswer:
    """One stream: its tokens as the engine counts them, and when its events came, in seconds."""

    prompt_tokens: int
    output_tokens: int
    sent_s: float
    came_s: tuple[float, ...]

    @property
    def ttft_s(self) -> float:
        """Seconds from sending to the first event with text."""
        return self.came_s[0] - self.sent_s

    @property
    def tpot_s(self) -> float:
        """Mean seconds of a token after the first; nan with one token."""
        return self.pace_s(self.came_s[0], self.came_s[-1])

    def pace_s(self, since_s: float, until_s: float) -> float:
        """Mean seconds of a token between the two times; nan where fewer than two events came."""
        came_s = [at_s for at_s in self.came_s if since_s <= at_s <= until_s]
        if len(came_s) < 2:
            return math.nan
        tokens = (self.output_tokens - 1) / (len(self.came_s) - 1)  # of an event
        return (came_s[-1] - came_s[0]) / (len(came_s) - 1) / tokens


def decoding_s(answers: Sequence[MeasuredAnswer]) -> float:
    """Median TPOT while all of them decode: after the last one's first token, before any end.

    Over all of each answer's time where there was no such while.
    """
    since_s = max(one.came_s[0] for one in answers)
    until_s = min(one.came_s[-1] for one in answers)
    paces_s = [one.pace_s(since_s, until_s) for one in answers]
    together_s = [pace_s for pace_s in paces_s if not math.isnan(pace_s)]
    return median(together_s or (one.tpot_s for one in answers))


@asynccontextmanager
async def reaching(where: Where) -> AsyncIterator[httpx.AsyncClient]:
    """A client for it; what fails on the way is a `HansomError` that says what to do."""
    headers = {"x-hansom-cache": "off"}
    if where.api_key:
        headers["authorization"] = f"Bearer {where.api_key}"
    limits = httpx.Limits(max_connections=where.connections)
    async with httpx.AsyncClient(headers=headers, timeout=_TIMEOUT, limits=limits) as client:
        try:
            yield client
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise HansomError(
                f"Nothing answers at {where.url}: {error or type(error).__name__}. "
                "Is `hansom serve` running?"
            ) from error


async def answer(
    client: httpx.AsyncClient, where: Where, prompt: int, output: int
) -> MeasuredAnswer:
    """Ask for `output` tokens after about `prompt` of them.

    Raises `HansomError` for a refusal, and where too few tokens come to be timed.
    """
    sent_s, came_s = time.perf_counter(), list[float]()
    usage: dict[str, Any] = {}
    body = _body(where.tier, prompt, output)
    async with client.stream("POST", f"{where.url}/v1/chat/completions", json=body) as response:
        if response.status_code != httpx.codes.OK:
            why = (await response.aread()).decode(errors="replace")[:300]
            raise HansomError(f"{where.url} answered {response.status_code}: {why}")
        async for line in _lines(response):
            if not line.startswith(b"data: {"):
                continue
            event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            text = any((one.get("delta") or {}).get("content") for one in event["choices"])
            if text or (came_s and event["choices"]):
                came_s.append(time.perf_counter())
            usage = event.get("usage") or usage
    tokens = int(usage.get("completion_tokens", 0))
    if tokens < min(output, _LEAST_TOKENS) or not came_s:
        raise HansomError(f"{where.tier} made {tokens} tokens only: too few to time.")
    return MeasuredAnswer(int(usage["prompt_tokens"]), tokens, sent_s, tuple(came_s))


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the lines of a stream; httpx's own would end one at a U+2028 of the answer."""
    tail = b""
    async for block in response.aiter_bytes():
        *whole, tail = (tail + block).split(b"\n")
        for line in whole:
            yield line


async def drive(where: Where, trace: Trace) -> tuple[Trace, list[MeasuredAnswer]]:
    """Send every request of the trace at its time.

    Returns what was sent in truth, with the engine's token counts, and the answers in its order.
    """
    start_s = time.perf_counter()

    async def one(
        client: httpx.AsyncClient, at_s: float, prompt: int, output: int
    ) -> MeasuredAnswer:
        await asyncio.sleep(start_s + at_s - time.perf_counter())
        return await answer(client, where, prompt, output)

    async with reaching(where) as client:
        rows = zip(trace.at_s, trace.input_tokens, trace.output_tokens, strict=True)
        answers = await asyncio.gather(
            *(one(client, float(at_s), int(i), int(o)) for at_s, i, o in rows)
        )
    answers = sorted(answers, key=lambda found: found.sent_s)
    sent = Trace(
        trace.name,
        np.array([found.sent_s for found in answers]) - answers[0].sent_s,
        np.array([found.prompt_tokens for found in answers], np.int64),
        np.array([found.output_tokens for found in answers], np.int64),
    )
    return sent, answers


def _body(tier: str, prompt: int, output: int) -> dict[str, Any]:
    # The nonce stands first: a prefix cache then finds nothing.
    text = f"{secrets.token_hex(4)} {_ASK}"
    text += _WORD * max(0, prompt - len(text) // _CHARACTERS)
    return {
        "model": tier,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": output,
        "temperature": 0,
        "ignore_eos": True,  # a small model soon has nothing more to say
        "stream": True,
        "stream_options": {"include_usage": True},
    }
