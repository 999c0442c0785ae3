"""`hansom plan calibrate`: measure a running tier over HTTP, and write down how fast it is.

Promises: prompts begin differently each time and ask for no cache, so every token is computed; one
prompt length after the other is sent alone, then several short ones at once. What cannot be seen
from outside (chunk, most sequences, start-up times, price) stays as it is in the profile's file.
Not covered: other callers: they slow down what is measured, so measure an idle tier.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from autoscale.calibration import Fitted, Sample, fit
from autoscale.profile import EngineProfile
from autoscale.profiles import load, put
from core.errors import HansomError

_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
_LEAST_TOKENS = 4
_WORD = " cab"  # one token, or nearly so, of any model's
_ASK = "Count from one to one thousand in words, without stopping. Ignore what follows."


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure, and where."""

    url: str
    tier: str
    prompt_tokens: tuple[int, ...]
    at_once: tuple[int, ...]
    output_tokens: int
    repeats: int
    engine_metrics: str | None = None
    api_key: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One stream: its tokens as the engine counts them, and when its tokens came."""

    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    tpot_s: float


def numbers(text: str, option: str) -> tuple[int, ...]:
    """`1,2,4` as whole numbers above 0; `HansomError` otherwise."""
    if not re.fullmatch(r"\s*[1-9]\d*\s*(,\s*[1-9]\d*\s*)*", text):
        raise HansomError(f"{option} takes whole numbers above 0 with commas, not {text!r}.")
    return tuple(sorted({int(part) for part in text.split(",")}))


def calibrate(asked: Asked, name: str, path: Path, *, write: bool, as_json: bool) -> None:
    """Measure, print, and write the profile `name` into the file."""
    if len(asked.prompt_tokens) < 2:
        raise HansomError("--prompts needs two lengths at least: the rate is their difference.")
    known = {one.name: one for one in load(path)} if path.exists() else {}
    samples, kv_tokens = asyncio.run(measure(asked))
    base = known.get(name)
    chunk_tokens = base.chunk_tokens if base else 2048
    fitted = fit(samples, chunk_tokens)
    profile = _profile(asked, name, base, chunk_tokens, fitted, kv_tokens)
    if write:
        put(path, profile)
    if as_json:
        told = {"profile": profile.model_dump(mode="json"), "fit": asdict(fitted)}
        typer.echo(json.dumps(told | {"samples": [asdict(one) for one in samples]}))
    else:
        _print(samples, fitted, profile, path if write else None)


async def measure(asked: Asked) -> tuple[list[Sample], int | None]:
    """A sample for each prompt length alone and each number at once; the engine's KV tokens."""
    headers = {"x-hansom-cache": "off"}
    if asked.api_key:
        headers["authorization"] = f"Bearer {asked.api_key}"
    limits = httpx.Limits(max_connections=max(asked.at_once))
    async with httpx.AsyncClient(headers=headers, timeout=_TIMEOUT, limits=limits) as client:
        try:
            await _answer(client, asked, min(asked.prompt_tokens))  # the first one warms up
            samples = [
                await _sample(client, asked, length, 1)
                for length in asked.prompt_tokens
                for _ in range(asked.repeats)
            ]
            samples += [
                await _sample(client, asked, min(asked.prompt_tokens), many)
                for many in asked.at_once
                for _ in range(asked.repeats)
            ]
            kv_tokens = None
            if asked.engine_metrics is not None:
                kv_tokens = kv_tokens_of((await client.get(asked.engine_metrics)).text)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise HansomError(
                f"Nothing answers at {asked.url}: {error or type(error).__name__}. "
                "Is `hansom serve` running?"
            ) from error
    return samples, kv_tokens


def kv_tokens_of(text: str) -> int:
    """Blocks times their size, of `vllm:cache_config_info`; `HansomError` where it is missing."""
    for line in text.splitlines():
        if line.startswith("vllm:cache_config_info{"):
            blocks = re.search(r'num_gpu_blocks="(\d+)"', line)
            size = re.search(r'block_size="(\d+)"', line)
            if blocks and size:
                return int(blocks[1]) * int(size[1])
    raise HansomError("The engine's metrics have no vllm:cache_config_info with its blocks.")


async def _sample(client: httpx.AsyncClient, asked: Asked, length: int, many: int) -> Sample:
    answers = await asyncio.gather(*(_answer(client, asked, length) for _ in range(many)))
    each = median(one.prompt_tokens + one.output_tokens / 2 for one in answers)
    return Sample(
        prompt_tokens=round(median(one.prompt_tokens for one in answers)),
        sequences=many,
        kv_tokens=many * each,
        ttft_s=median(one.ttft_s for one in answers),
        tpot_s=median(one.tpot_s for one in answers),
    )


async def _answer(client: httpx.AsyncClient, asked: Asked, length: int) -> Answer:
    # The nonce stands first: a prefix cache then finds nothing.
    prompt = f"{secrets.token_hex(4)} {_ASK}"
    prompt += _WORD * max(0, length - len(prompt) // 4)
    body = {
        "model": asked.tier,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": asked.output_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began_s, came_s = time.perf_counter(), list[float]()
    usage: dict[str, Any] = {}
    async with client.stream("POST", f"{asked.url}/v1/chat/completions", json=body) as response:
        if response.status_code != httpx.codes.OK:
            why = (await response.aread()).decode(errors="replace")[:300]
            raise HansomError(f"{asked.url} answered {response.status_code}: {why}")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event: dict[str, Any] = json.loads(line.removeprefix("data: "))
            if any((choice.get("delta") or {}).get("content") for choice in event["choices"]):
                came_s.append(time.perf_counter())
            usage = event.get("usage") or usage
    tokens = int(usage.get("completion_tokens", 0))
    if tokens < _LEAST_TOKENS or not came_s:
        raise HansomError(f"{asked.tier} made {tokens} tokens only: too few to time.")
    pace_s = (came_s[-1] - came_s[0]) / (tokens - 1)
    return Answer(int(usage["prompt_tokens"]), tokens, came_s[0] - began_s, pace_s)


def _profile(
    asked: Asked,
    name: str,
    base: EngineProfile | None,
    chunk_tokens: int,
    fitted: Fitted,
    kv_tokens: int | None,
) -> EngineProfile:
    day = datetime.now(UTC).date().isoformat()
    found = {
        "name": name,
        "source": (
            f"Measured by `hansom plan calibrate` on {day}: tier {asked.tier}, prompts of "
            f"{min(asked.prompt_tokens)} to {max(asked.prompt_tokens)} tokens, up to "
            f"{max(asked.at_once)} at once, {asked.repeats} times each; median errors: TPOT "
            f"{fitted.tpot_error:.1%}, TTFT {fitted.ttft_error:.1%}."
        ),
        "base_s": float(f"{fitted.base_s:.4g}"),
        "per_sequence_s": float(f"{fitted.per_sequence_s:.4g}"),
        "per_kv_token_s": float(f"{fitted.per_kv_token_s:.4g}"),
        "prefill_tokens_per_s": float(f"{fitted.prefill_tokens_per_s:.4g}"),
        "chunk_tokens": chunk_tokens,
    }
    kept = base.model_dump() if base else {"kv_tokens": 65_536, "max_sequences": 64}
    if kv_tokens is not None:
        found["kv_tokens"] = kv_tokens
    return EngineProfile.model_validate(kept | found)


def _print(
    samples: list[Sample], fitted: Fitted, profile: EngineProfile, path: Path | None
) -> None:
    table = Table("prompt tokens", "at once", "TTFT", "TPOT", title="Measured")
    for one in samples:
        table.add_row(
            f"{one.prompt_tokens:,}",
            f"{one.sequences}",
            f"{1000 * one.ttft_s:.1f} ms",
            f"{1000 * one.tpot_s:.2f} ms",
        )
    console = Console()
    console.print(table)
    console.print(
        f"A step takes {1000 * profile.base_s:.2f} ms + {1000 * profile.per_sequence_s:.3f} ms for "
        f"each sequence + {1e6 * profile.per_kv_token_s:.3f} ms for each 1,000 KV tokens; "
        f"prompts are read at {profile.prefill_tokens_per_s:,.0f} tokens/s; "
        f"{1000 * fitted.overhead_s:.1f} ms of every TTFT is neither."
    )
    if path is not None:
        console.print(f"Written as {profile.name} to {path}.")
