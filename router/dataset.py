"""What the router learns from: published answers of model pairs, and prompts of our own.

Promises: rows in a fixed order; equal prompts (and all prompts of one family of ours) share a fold.
Only sources whose prompts and scores both carry a licence are read.
Not covered: serving never imports this module; pandas is needed for training only.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from router.embed import MiniLM
from router.features import surface
from router.prompts import own_prompts

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

SOURCES = (
    "routellm_mmlu",
    "routerbench_arc_mbpp_winogrande",
    "llmrouter_uiuc",
    "zeroeval_math-l5",
    "mmlu_pro",
)
OWN, OWN_HELD_OUT = "own", "own_held_out"
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of every source, in one order.

    source, prompt: (n,) names and texts; right (n, 2): how right (small, large) was, in [0, 1];
    embeddings (n, E); surfaces (n, F); fold (n,): rows with equal folds are left out together.
    """

    source: NDArray[np.str_]
    prompt: tuple[str, ...]
    right: Floats
    embeddings: NDArray[np.float32]
    surfaces: NDArray[np.float32]
    fold: Rows

    def of(self, *sources: str) -> Rows:
        """Indices of the rows of these sources."""
        return np.flatnonzero(np.isin(self.source, sources))


def load(data: Path, cache: Path | None) -> Table:
    """Read the sources with their pairs, add our own prompts, embed and measure all."""
    pairs = json.loads((data / "pairs.json").read_text(encoding="utf-8"))
    prompts: list[str] = []
    groups: list[str] = []
    source: list[str] = []
    right: list[tuple[float, float]] = []
    for name in SOURCES:
        frame = pd.read_parquet(data / f"{name}.parquet")
        if "contaminated" in frame:
            frame = frame[~frame["contaminated"]]
        frame = frame.dropna(subset=[f"score::{model}" for model in pairs[name]])
        small, large = (frame[f"score::{model}"].astype(float) for model in pairs[name])
        prompts += list(frame["prompt"])
        groups += [" ".join(prompt.lower().split()) for prompt in frame["prompt"]]
        source += [name] * len(frame)
        right += zip(small, large, strict=True)
    for name, held_out in ((OWN, False), (OWN_HELD_OUT, True)):
        ours = own_prompts(held_out=held_out)
        prompts += [own.text for own in ours]
        groups += [own.family for own in ours]
        source += [name] * len(ours)
        right += [(own.p_small, own.p_large) for own in ours]
    return Table(
        source=np.array(source),
        prompt=tuple(prompts),
        right=np.array(right),
        embeddings=_embedded(prompts, cache),
        surfaces=np.stack([surface([{"role": "user", "content": text}]) for text in prompts]),
        fold=np.array([zlib.crc32(group.encode()) % FOLDS for group in groups]),
    )


def _embedded(prompts: Sequence[str], cache: Path | None) -> NDArray[np.float32]:
    """(n, E) embeddings; those of prompts met in an earlier run come from the cache."""
    digests = [hashlib.sha256(prompt.encode()).hexdigest() for prompt in prompts]
    known: dict[str, NDArray[np.float32]] = {}
    if cache is not None and cache.is_file():
        with np.load(cache, allow_pickle=False) as stored:
            known = dict(zip(stored["digests"].tolist(), stored["rows"], strict=True))
    embedder = MiniLM.installed()
    for digest, prompt in zip(digests, prompts, strict=True):
        if digest not in known:
            known[digest] = embedder.embed([prompt])[0]
    rows = np.stack([known[digest] for digest in digests])
    if cache is not None:
        np.savez(cache, rows=rows, digests=np.array(digests))
    return rows
