"""Rows of prompts whose answers were judged: read from a file, then scored by the router.

Promises: a file, column or model that is not there is a `HansomError` that names it and those that
are; rows that either model has no score for are left out and counted.
Not covered: what the scores mean; a file's author says how right an answer was, from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from core.errors import HansomError
from core.files.table_file import read_table
from router.score.conversation import read
from router.score.features import of_conversation
from router.score.model import Judged, Scorer
from router.tuning.points import Floats, Rows
from text.embed import MiniLM

PROMPT, SCORE, COST = "prompt", "score::", "cost::"
# Above this cosine a prompt is one of the sample, or nearly: another graph of the embedder and half
# precision take up to 0.02.
SAME = 0.98


@dataclass(frozen=True, slots=True)
class Labelled:
    """n prompts and how right each model was; `weak`, `strong` (n,) in [0, 1].

    `between` (n, tiers - 2) are the models between them, if there are any. `domain` (n,) is there
    if it was asked for; `cost_usd` (n, tiers), of a call to each model, if the file tells all.
    `left_out` rows had no score, or were marked as contaminated.
    """

    prompts: tuple[str, ...]
    weak: Floats
    strong: Floats
    domain: NDArray[np.str_] | None
    cost_usd: Floats | None
    left_out: int
    between: Floats | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """Labelled rows with what the router makes of them; `seen` are known to it from training."""

    labelled: Labelled
    judged: Judged
    seen: int

    @property
    def need(self) -> Floats:
        """(n,) what a policy compares with its cut-off."""
        return np.asarray(np.clip(self.judged.rank, 0, 1))

    @property
    def rows(self) -> Rows:
        """The rows to calibrate on."""
        labelled = self.labelled
        return Rows(
            self.need, labelled.weak, labelled.strong, self.judged.distance, labelled.domain,
            labelled.between,
        )  # fmt: skip


def read_labelled(
    path: Path, weak: str, strong: str, by: str | None = None, between: Sequence[str] = ()
) -> Labelled:
    """Read a Parquet or CSV file with `prompt` and `score::<model>` columns.

    `between` names the models of the tiers between `weak` and `strong`, cheapest first.
    """
    models = (weak, *between, strong)
    table = read_table(path)
    for column in (PROMPT, *([by] if by else [])):
        if column not in table.column_names:
            raise HansomError(
                f"{path} has no column '{column}'. Columns: {', '.join(table.column_names)}"
            )
    right = np.stack([_numbers(path, table, SCORE, model) for model in models], axis=1)
    kept = np.asarray(np.isfinite(right).all(axis=1))
    if "contaminated" in table.column_names:
        kept &= ~np.array(table["contaminated"].to_pylist(), dtype=bool)
    if not kept.any():
        raise HansomError(f"{path} has no row with scores of {_all_of(models)}.")
    if right[kept].min() < 0 or right[kept].max() > 1:
        raise HansomError(f"{path}: scores must lie in [0, 1], 1 is a right answer.")
    prompts = table[PROMPT].to_pylist()
    return Labelled(
        prompts=tuple(str(prompts[row]) for row in np.flatnonzero(kept)),
        weak=right[kept, 0],
        strong=right[kept, -1],
        domain=np.array([str(name) for name in table[by].to_pylist()])[kept] if by else None,
        cost_usd=_costs(path, table, models, kept),
        left_out=int((~kept).sum()),
        between=right[kept, 1:-1] if between else None,
    )


def score(labelled: Labelled, scorer: Scorer, embedder: MiniLM, *, quiet: bool) -> Scored:
    """Embed and judge every prompt, with a bar on standard error unless `quiet`."""
    embeddings, surfaces = [], []
    console = Console(stderr=True, quiet=quiet)
    for prompt in track(labelled.prompts, "scoring", console=console, transient=True):
        conversation = read([{"role": "user", "content": prompt}])
        embeddings.append(embedder.embed([conversation.asked])[0])
        surfaces.append(of_conversation(conversation))
    rows = np.stack(embeddings)
    seen = int(((rows @ scorer.weights.sample.T).max(axis=1) > SAME).sum())
    return Scored(labelled, scorer.judge(rows, np.stack(surfaces)), seen)


def _all_of(models: Sequence[str]) -> str:
    both = "both " if len(models) == 2 else ""
    return both + " and ".join(f"'{model}'" for model in models)


def _numbers(path: Path, table: pa.Table, prefix: str, model: str) -> Floats:
    """(n,) one model's numbers, nan where there are none."""
    if prefix + model not in table.column_names:
        there = [
            name.removeprefix(prefix) for name in table.column_names if name.startswith(prefix)
        ]
        raise HansomError(
            f"{path} has no column '{prefix}{model}'. "
            f"Models there: {', '.join(there) or f'none: a model needs a column {prefix}<model>'}"
        )
    try:
        return np.array(table[prefix + model].to_pylist(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise HansomError(f"{path}: column '{prefix}{model}' is not numbers: {error}") from error


def _costs(
    path: Path, table: pa.Table, models: Sequence[str], kept: NDArray[np.bool_]
) -> Floats | None:
    if not {COST + model for model in models} <= set(table.column_names):
        return None
    costs = [_numbers(path, table, COST, model)[kept] for model in models]
    found: Floats = np.stack(costs, axis=1)
    return found if np.isfinite(found).all() else None
