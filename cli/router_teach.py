"""`hansom router teach`, `use` and `curve`: what a running router learns, and what it is worth.

Promises: labels go to the memory that feedback goes to, so every replica learns from them while it
serves; nothing of a prompt's text is kept. `curve` changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer
from redis.exceptions import RedisError
from rich.table import Table

from cli.cache_redis import away, url_of
from cli.router_rows import read_labelled
from cli.tables import show_table
from core.settings.load import Settings
from deployments.router.label_store import LabelStore
from router.adapt.labels import Label, ScoredPrompt
from router.score.conversation import read
from router.score.features import of_conversation
from router.score.model import HEADS, Scorer
from router.tuning.evaluation import ExamError, evaluate_file
from text.embed import MiniLM

STEPS = (0, 50, 100, 200, 500, 1000)


def teach(path: Path, weak: str, strong: str, settings: Settings, *, as_json: bool) -> None:
    """Add a file's rows to the labels of the running router; both models' scores count."""
    labelled = read_labelled(path, weak, strong)
    rows = np.stack([labelled.weak, labelled.strong], axis=1)
    embedder = MiniLM.installed()
    labels = []
    for prompt, right in zip(labelled.prompts, rows, strict=True):
        conversation = read([{"role": "user", "content": prompt}])
        seen = ScoredPrompt.of(
            embedder.embed([conversation.asked])[0], of_conversation(conversation)
        )
        labels += [Label(seen, head, float(right[head])) for head in range(HEADS)]

    async def give(memory: LabelStore) -> int:
        await memory.add(labels)
        return await memory.given()

    given = asyncio.run(_ask(settings, give))
    told = {"rows": len(labelled.prompts), "labels": len(labels), "given": given}
    typer.echo(
        json.dumps(told)
        if as_json
        else f"{len(labels)} labels of {told['rows']} prompts; {given} were given so far. Routers "
        f"take them up within {settings.router.memory.refresh_s:g} s."
    )


def curve(
    path: Path, weak: str, strong: str, weights: Path, seed: int, *, answers: bool, as_json: bool
) -> None:
    """Print how the score gets better with labels of this file, measured on the rest of it."""
    scorer, embedder = Scorer.load(weights), MiniLM.installed()
    found: list[dict[str, Any]] = []
    for step in STEPS:
        try:
            exam = evaluate_file(
                path, weak, strong, adapt=step or None, seed=seed, answers=answers,
                scorer=scorer, embedder=embedder,
            )  # fmt: skip
        except ExamError:
            if not found:
                raise
            break  # the file has no more rows to learn from and be examined on
        found.append({"labels": step, **exam.as_json()})
    if as_json:
        typer.echo(json.dumps({"curve": found}))
        return
    table = Table("labels", "rows examined", "APGR", "AUROC", "ECE", title=str(path))
    for row in found:
        shown = [f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"
                 for name in ("apgr", "auroc", "ece")]  # fmt: skip
        table.add_row(str(row["labels"]), str(row["n"]), *shown)
    show_table(table)


def use(weights: Path, settings: Settings, *, as_json: bool) -> None:
    """Have the running routers take other weights between two calls; checked here before."""
    version = Scorer.load(weights).version
    folder = str(weights.absolute())

    async def name(memory: LabelStore) -> int:
        await memory.use(folder)
        return 0

    asyncio.run(_ask(settings, name))
    told = {"folder": folder, "version": version}
    typer.echo(json.dumps(told) if as_json else f"Routers take {version} up, each from {folder}.")


async def _ask(settings: Settings, question: Callable[[LabelStore], Awaitable[int]]) -> int:
    url, kept = url_of(settings), settings.router.memory
    memory = LabelStore(url, keep_s=kept.keep_s, max_labels=kept.max_labels)
    try:
        return await question(memory)
    except (RedisError, OSError) as error:
        raise away(url, error) from error
    finally:
        await memory.close()
