"""What `bench.lookup` stores and asks for: real sentences, their vectors, and copies moved aside.

Promises: the same files give the same sentences, vectors and copies; no sentence is both stored
and asked for. Not covered: whether near ones mean the same.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.semantic.entries import entry_id
from text.embed import MiniLM

QUERIES = 3_000
# A copy's cosine to its sentence: a neighbour as a paraphrase is one.
COPY_COSINE = 0.85
_BLOCK = 50_000

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Material:
    """Sentences to store with their vectors (N, D), and prompts (Q,) with theirs (Q, D)."""

    texts: list[str]
    rows: Rows
    prompts: list[str]
    prompt_rows: Rows


def sentences(folder: Path) -> list[str]:
    """All distinct sentences of the folder's files, in an order without meaning."""
    found: set[str] = set()
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                row = json.loads(line)
                found |= {row[name] for name in ("a", "b", "text") if name in row}
    return sorted(found, key=entry_id)


def embedded(texts: Sequence[str], embedder: MiniLM) -> Rows:
    """(N, D) vectors of length 1; kept in the temporary folder for the next run."""
    name = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"hansom-lookup-{name}.npy"
    if path.exists():
        return np.asarray(np.load(path), dtype=np.float32)
    rows = embedder.embed(texts)
    np.save(path, rows)
    return rows


def material(folder: Path, most: int, embedder: MiniLM) -> Material:
    """`most` entries, copies among them where there are fewer sentences, and `QUERIES` prompts."""
    texts = sentences(folder)
    rows = embedded(texts, embedder)
    kept, kept_rows = texts[QUERIES:], rows[QUERIES:]
    stored = np.empty((most, rows.shape[1]), dtype=np.float32)
    names = kept[:most]
    stored[: len(names)] = kept_rows[:most]
    draws = np.random.default_rng(0)
    for start in range(len(names), most, _BLOCK):
        size = min(_BLOCK, most - start)
        of = draws.integers(len(kept), size=size)
        stored[start : start + size] = aside(kept_rows[of], COPY_COSINE, draws)
        names += [f"{kept[at]} #{start + n}" for n, at in enumerate(of)]
    return Material(names, stored, texts[:QUERIES], rows[:QUERIES])


def aside(rows: Rows, cosine: float, draws: np.random.Generator) -> Rows:
    """(N, D) vectors of length 1, each at this cosine to its row of length 1."""
    other = draws.standard_normal(rows.shape, dtype=np.float32)
    other -= rows * (other * rows).sum(axis=1, keepdims=True)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return np.asarray(cosine * rows + np.sqrt(1 - cosine**2) * other, dtype=np.float32)


def nearest(rows: Rows, queries: Rows) -> NDArray[np.float32]:
    """(Q,) each query's highest cosine, exactly."""
    best = np.full(len(queries), -1, dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        best = np.maximum(best, (queries @ rows[start : start + _BLOCK].T).max(axis=1))
    return best
