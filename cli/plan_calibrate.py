"""`hansom plan calibrate`: measure a running tier over HTTP, and write down how fast it is.

Promises: one prompt length after the other is sent alone, then several short ones at once; a figure
is the median of its repeats. What cannot be seen from outside stays as it is in the profile's file:
start-up times and price; chunk and most sequences, too, unless the tier's engine names them.
Not covered: other callers: they slow down what is measured, so measure an idle tier.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx
import typer
from rich.table import Table

from autoscale.calibrate.constants import FittedConstants, TimingSample, fit
from autoscale.calibrate.measure import Where, answer, decoding_s, reaching
from autoscale.calibrate.profiles import load, put
from autoscale.policy.profile import EngineProfile
from cli.tables import show_table, terminal
from cli.usage import UsageError
from core.errors import HansomError
from core.settings.load import Tier, VllmEngine
from deployments.tier.vllm_engine import kv_arguments


@dataclass(frozen=True, slots=True)
class PlanCalibrateOptions:
    """What to measure, and where; the last three are what the engine's settings say, if they do."""

    where: Where
    prompt_tokens: tuple[int, ...]
    at_once: tuple[int, ...]
    output_tokens: int
    repeats: int
    engine_metrics: str | None = None
    chunk_tokens: int | None = None
    max_sequences: int | None = None
    kv: Mapping[str, float] = field(default_factory=dict)


def numbers(text: str, option: str) -> tuple[int, ...]:
    """`1,2,4` as whole numbers above 0; `HansomError` otherwise."""
    if not re.fullmatch(r"\s*[1-9]\d*\s*(,\s*[1-9]\d*\s*)*", text):
        raise UsageError(f"{option} takes whole numbers above 0 with commas, not {text!r}.")
    return tuple(sorted({int(part) for part in text.split(",")}))


def engine_limits(tiers: Sequence[Tier], name: str) -> tuple[int | None, int | None]:
    """vLLM's chunk and most sequences, as the tier or model of that name sets them."""
    for tier in tiers:
        if name in (tier.name, tier.model) and isinstance(tier.engine, VllmEngine):
            chunk, most = map(tier.engine.args.get, ("max_num_batched_tokens", "max_num_seqs"))
            return _count(chunk), _count(most)
    return None, None


def kv_of(tiers: Sequence[Tier], name: str) -> dict[str, float]:
    """Block size and watermark of the tier or model of that name, by the profile's names."""
    for tier in tiers:
        if name in (tier.name, tier.model) and isinstance(tier.engine, VllmEngine):
            told = kv_arguments(tier) | tier.engine.args
            known = {"block_tokens": told.get("block_size"), "watermark": told.get("watermark")}
            return {name: one for name, one in known.items() if isinstance(one, int | float)}
    return {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def calibrate(
    asked: PlanCalibrateOptions, name: str, path: Path, *, write: bool, as_json: bool
) -> None:
    """Measure, print, and write the profile `name` into the file."""
    if len(asked.prompt_tokens) < 2:
        raise HansomError("--prompts needs two lengths at least: the rate is their difference.")
    known = {one.name: one for one in load(path)} if path.exists() else {}
    samples, kv_tokens = asyncio.run(measure(asked))
    base = known.get(name)
    chunk_tokens = asked.chunk_tokens or (base.chunk_tokens if base else 2048)
    fitted = fit(samples, chunk_tokens)
    profile = _profile(asked, name, base, chunk_tokens, fitted, kv_tokens)
    if write:
        put(path, profile)
    if as_json:
        told = {"profile": profile.model_dump(mode="json"), "fit": asdict(fitted)}
        typer.echo(json.dumps(told | {"samples": [asdict(one) for one in samples]}))
    else:
        _print(samples, fitted, profile, path if write else None)


async def measure(asked: PlanCalibrateOptions) -> tuple[list[TimingSample], int | None]:
    """A sample for each prompt length alone and each number at once; the engine's KV tokens."""
    least = min(asked.prompt_tokens)
    async with reaching(asked.where) as client:
        await answer(client, asked.where, least, asked.output_tokens)  # the first one warms up
        samples = [await _sample(client, asked, length, 1) for length in asked.prompt_tokens]
        samples += [await _sample(client, asked, least, many) for many in asked.at_once]
        kv_tokens = None
        if asked.engine_metrics is not None:
            kv_tokens = kv_tokens_of((await client.get(asked.engine_metrics)).text)
    return samples, kv_tokens


def kv_tokens_of(text: str) -> int:
    """Blocks times their size, of `vllm:cache_config_info`; `HansomError` where it is missing."""
    for line in text.split("\n"):
        if line.startswith("vllm:cache_config_info{"):
            blocks = re.search(r'num_gpu_blocks="(\d+)"', line)
            size = re.search(r'block_size="(\d+)"', line)
            if blocks and size:
                return int(blocks[1]) * int(size[1])
    raise HansomError("The engine's metrics have no vllm:cache_config_info with its blocks.")


async def _sample(
    client: httpx.AsyncClient, asked: PlanCalibrateOptions, length: int, many: int
) -> TimingSample:
    """The median of all repeats: one that something else slowed down then says nothing."""
    turns = [
        await asyncio.gather(
            *(answer(client, asked.where, length, asked.output_tokens) for _ in range(many))
        )
        for _ in range(asked.repeats)
    ]
    answers = [one for turn in turns for one in turn]
    if any(math.isnan(one.tpot_s) for one in answers):
        raise HansomError(
            f"The tokens of an answer of {asked.where.tier} came all at once: too few to time. "
            "Ask for more with --output-tokens."
        )
    each = median(one.prompt_tokens + one.output_tokens / 2 for one in answers)
    return TimingSample(
        prompt_tokens=round(median(one.prompt_tokens for one in answers)),
        sequences=many,
        kv_tokens=many * each,
        ttft_s=median(one.ttft_s for one in answers),
        tpot_s=median(decoding_s(turn) for turn in turns),
    )


def _profile(
    asked: PlanCalibrateOptions,
    name: str,
    base: EngineProfile | None,
    chunk_tokens: int,
    fitted: FittedConstants,
    kv_tokens: int | None,
) -> EngineProfile:
    day = datetime.now(UTC).date().isoformat()
    found = {
        "name": name,
        "source": (
            f"Measured by `hansom plan calibrate` on {day}: tier {asked.where.tier}, prompts of "
            f"{min(asked.prompt_tokens)} to {max(asked.prompt_tokens)} tokens, up to "
            f"{max(asked.at_once)} at once, {asked.repeats} times each; median errors: TPOT "
            f"{fitted.tpot_error:.1%}, TTFT {fitted.ttft_error:.1%}."
        ),
        "base_s": float(f"{fitted.base_s:.4g}"),
        "per_sequence_s": float(f"{fitted.per_sequence_s:.4g}"),
        "per_kv_token_s": float(f"{fitted.per_kv_token_s:.4g}"),
        "prefill_tokens_per_s": float(f"{fitted.prefill_tokens_per_s:.4g}"),
        "overhead_s": float(f"{fitted.overhead_s:.4g}"),
        "chunk_tokens": chunk_tokens,
        **asked.kv,
    }
    if asked.max_sequences is not None:
        found["max_sequences"] = asked.max_sequences
    kept = base.model_dump() if base else {"kv_tokens": 65_536, "max_sequences": 64}
    if kv_tokens is not None:
        found["kv_tokens"] = kv_tokens
    return EngineProfile.model_validate(kept | found)


def _print(
    samples: list[TimingSample], fitted: FittedConstants, profile: EngineProfile, path: Path | None
) -> None:
    table = Table("prompt tokens", "at once", "TTFT", "TPOT", title="Measured")
    for one in samples:
        table.add_row(
            f"{one.prompt_tokens:,}",
            f"{one.sequences}",
            f"{1000 * one.ttft_s:.1f} ms",
            f"{1000 * one.tpot_s:.2f} ms",
        )
    console = terminal()
    show_table(table, console)
    console.print(
        f"A step takes {1000 * profile.base_s:.2f} ms + {1000 * profile.per_sequence_s:.3f} ms for "
        f"each sequence + {1e6 * profile.per_kv_token_s:.3f} ms for each 1,000 KV tokens; "
        f"prompts are read at {profile.prefill_tokens_per_s:,.0f} tokens/s; "
        f"{1000 * fitted.overhead_s:.1f} ms of every TTFT is neither."
    )
    if path is not None:
        console.print(f"Written as {profile.name} to {path}.")
