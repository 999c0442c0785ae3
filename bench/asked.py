"""A served model's answers to graded questions of one's own, for the router's exam.

    hansom serve &
    python -m bench.asked questions.parquet --tier large --out graded.parquet
    hansom router evaluate graded.parquet --weak large --strong OTHER --answers

Promises: the file with its other columns, such as the scores of other models, and those rows that
have a `gold`; added are `text::TIER`, what the tier answered at temperature 0 with the cache kept
out, `score::TIER`, 1 or 0 by `bench/grading.py`, and `cut::TIER`, whether it ran into the limit of
tokens.
Not covered: golds. They are read as numbers, or as text that a right answer must hold.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from bench.grading import WORKED, Question, right

MAX_TOKENS = 512


def graded(frame: pd.DataFrame, tier: str, said: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The rows with what a tier said to each; `said` are choices of chat completions."""
    texts = [choice["message"]["content"] or "" for choice in said]
    rows = zip(frame["prompt"], frame["gold"], texts, strict=True)
    scores = [
        float(right(Question("own", WORKED, prompt, str(gold)), text))
        for prompt, gold, text in rows
    ]
    cut = [choice["finish_reason"] == "length" for choice in said]
    return frame.assign(
        **{f"text::{tier}": texts, f"score::{tier}": scores, f"cut::{tier}": cut},
    )


async def ask(
    client: httpx.AsyncClient, tier: str, prompts: Sequence[str], at_once: int, max_tokens: int
) -> list[dict[str, Any]]:
    """The tier's choice for every prompt, in the order of the prompts."""
    places = asyncio.Semaphore(at_once)

    async def one(prompt: str) -> dict[str, Any]:
        body = {
            **{"model": tier, "messages": [{"role": "user", "content": prompt}]},
            **{"max_tokens": max_tokens, "temperature": 0.0},
        }
        async with places:
            got = await client.post("/v1/chat/completions", json=body)
        choice: dict[str, Any] = got.raise_for_status().json()["choices"][0]
        return choice

    return await asyncio.gather(*map(one, prompts))


async def _asked(given: argparse.Namespace, prompts: Sequence[str]) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(
        base_url=given.url, timeout=3600, headers={"x-hansom-cache": "off"}
    ) as client:
        return await ask(client, given.tier, prompts, given.at_once, given.max_tokens)


def main() -> None:
    """Ask, grade and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.asked", description=__doc__)
    parser.add_argument("file", type=Path, help="a parquet file with prompt and gold")
    parser.add_argument("--tier", default="large")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--at-once", type=int, default=16, help="questions in flight")
    parser.add_argument("--max-tokens", type=int, default=MAX_TOKENS)
    given = parser.parse_args()
    frame = pd.read_parquet(given.file)
    frame = frame[frame["gold"].notna()].reset_index(drop=True)
    said = asyncio.run(_asked(given, list(frame["prompt"])))
    found = graded(frame, given.tier, said)
    found.to_parquet(given.out)
    print(f"{len(found)} answers, {found[f'score::{given.tier}'].mean():.1%} right: {given.out}")


if __name__ == "__main__":
    main()
