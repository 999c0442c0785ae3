"""The semantic cache beside fixed cosine thresholds, on the same vectors, in one run.

    python -m bench.semantic DATA_DIR

Promises: all rows of a set, one frozen setting for ours; a fixed threshold is given every chance:
the best one for each column is picked with the labels of the very rows it is measured on.
Not covered: speed of a lookup, Redis, and other caches (`bench.semantic_peers`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from cache.language.mismatch import Mismatch, refusal
from cache.language.slots import read
from cache.semantic.consensus import Candidate, EntryChoice, ServedBy, choose
from cache.semantic.pair import PromptReader, features
from cache.semantic.verify import Verifier
from cache.tuning.dataset import Pair, Request, load_pairs, load_stream
from cache.tuning.evaluation import Examiner
from cache.tuning.simulate import replay
from text.embed import MiniLM

POOLED = ("redis_nearmiss", "medical_qp", "probes")
OTHERS = ("paws_qqp", "negation_cannot", "stsb_and_language", "qqp_gptcache")
STREAMS = {"banking77": 6508, "clinc150": 5000}
# Rows of a set beyond this are left out: the first ones are taken.
MOST_ROWS = 2000
FIXED = tuple(step / 100 for step in range(60, 100))
TIMED = 500


class Pool:
    """Sets of pairs that count alike: shares served and wrong, and recall."""

    def __init__(self, sets: Mapping[str, Sequence[Pair]]) -> None:
        self._labels = {name: np.array([one.label for one in rows]) for name, rows in sets.items()}

    def marks(self, served: Mapping[str, NDArray[np.bool_]]) -> tuple[float, float, float]:
        """(share served, wrong of those, recall), each a mean over the sets."""
        hits = wrong = recall = 0.0
        for name, labels in self._labels.items():
            got = served[name]
            hits += got.mean()
            wrong += (got & (labels == 0)).mean()
            recall += (got & (labels == 1)).sum() / max((labels == 1).sum(), 1)
        count = len(self._labels)
        return hits / count, wrong / max(hits, 1e-12), recall / count

    def best_fixed(
        self, cosines: Mapping[str, NDArray[np.float64]], most_wrong: float
    ) -> tuple[float, float, float, float]:
        """(share served, wrong, recall, threshold) of the best fixed threshold in hindsight."""
        best = (0.0, 0.0, 0.0, 1.0)
        for threshold in sorted({float(one) for rows in cosines.values() for one in rows}):
            marks = self.marks({name: rows >= threshold for name, rows in cosines.items()})
            if marks[1] <= most_wrong and marks[0] > best[0]:
                best = (*marks, threshold)
        return best


def pair_sets(data: Path, names: Sequence[str]) -> dict[str, list[Pair]]:
    """The first `MOST_ROWS` rows of each set."""
    return {name: load_pairs(data / f"{name}.jsonl.gz")[:MOST_ROWS] for name in names}


def served_pairs(
    examiner: Examiner, sets: Mapping[str, Sequence[Pair]]
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.float64]]]:
    """What ours serves of each set, and all cosines."""
    served, cosines = {}, {}
    for name, rows in sets.items():
        found = [examiner.pair_choice(one.cached, one.query) for one in rows]
        served[name] = np.array([choice.entry is not None for choice, _ in found])
        cosines[name] = np.array([cosine for _, cosine in found])
    return served, cosines


def fixed(threshold: float) -> object:
    """The rule of a cache with one cosine for all."""

    def decide(_: str, near: Sequence[Candidate]) -> EntryChoice:
        if near and near[0].cosine >= threshold:
            return EntryChoice(0, ServedBy.VERIFIED, near[0].cosine)
        return EntryChoice(None, Mismatch.DISTANT, 0.0)

    return decide


def stream_marks(
    requests: Sequence[Request], rows: NDArray[np.float32], decide: object
) -> tuple[float, float]:
    """(share served, wrong of those) from a cold cache."""
    served = [one for one in replay(requests, rows, decide) if one]  # type: ignore[arg-type]
    wrong = sum(not one.right for one in served)
    return len(served) / len(requests), wrong / max(len(served), 1)


def costs(reader: PromptReader, verifier: Verifier, pairs: Sequence[Pair]) -> dict[str, float]:
    """Median microseconds of the parts of one verified pair, texts not seen before."""
    found: dict[str, list[float]] = {"slots": [], "reading": [], "gates": [], "features": []}
    found["trees"] = []
    for one in pairs[:TIMED]:
        start = time.perf_counter()
        read.__wrapped__(one.query)
        after_slots = time.perf_counter()
        mine, theirs = reader.read(one.cached), reader.read(one.query)
        after_reading = time.perf_counter()
        refusal(one.cached, one.query)
        after_gates = time.perf_counter()
        features(mine, theirs)
        after_features = time.perf_counter()
        verifier.pair(one.cached, one.query)
        done = time.perf_counter()
        found["slots"].append(after_slots - start)
        found["reading"].append((after_reading - after_slots) / 2)
        found["gates"].append(after_gates - after_reading)
        found["features"].append(after_features - after_gates)
        found["trees"].append(done - after_features - (after_features - after_gates))
    return {name: float(np.median(seconds)) * 1e6 for name, seconds in found.items()}


def main() -> None:
    """Measure all and print tables; `--json` for machines."""
    parser = argparse.ArgumentParser(prog="python -m bench.semantic", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the *.jsonl.gz files")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs-only", action="store_true")
    given = parser.parse_args()
    embedder = MiniLM.installed()
    reader = PromptReader(embedder, kept=1 << 13)
    verifier = Verifier.load(reader)
    sets = pair_sets(given.data, POOLED)
    told: dict[str, object] = {"costs_us": costs(reader, verifier, sets["redis_nearmiss"])}
    pool = Pool(sets)
    for level in verifier.thresholds:
        served, cosines = served_pairs(Examiner(embedder, verifier, level), sets)
        best = pool.best_fixed(cosines, float(level))
        told[f"pooled {level}"] = {"ours": pool.marks(served), "fixed": best}
        told |= {f"{name} {level}": _alone(sets[name], served[name]) for name in POOLED}
    others = pair_sets(given.data, OTHERS)
    served, _ = served_pairs(Examiner(embedder, verifier), others)
    told |= {name: _alone(others[name], served[name]) for name in OTHERS}
    if not given.pairs_only:
        for name, count in STREAMS.items():
            told[name] = _stream(given.data / f"{name}.stream.jsonl.gz", count, embedder, verifier)
    if given.json:
        print(json.dumps(told))
        return
    table = Table("measure", "value")
    for key, value in told.items():
        table.add_row(key, json.dumps(value))
    Console(width=180).print(table)


def _alone(rows: Sequence[Pair], served: NDArray[np.bool_]) -> dict[str, float]:
    labels = np.array([one.label for one in rows])
    wrong = (served & (labels == 0)).sum()
    return {
        "rows": len(rows),
        "served": float(served.mean()),
        "wrong": float(wrong / max(served.sum(), 1)),
        "recall": float((served & (labels == 1)).sum() / max((labels == 1).sum(), 1)),
        "near_misses_served": float(wrong / max((labels == 0).sum(), 1)),
    }


def _stream(path: Path, count: int, embedder: MiniLM, verifier: Verifier) -> dict[str, object]:
    requests = load_stream(path)[:count]
    rows = embedder.embed([one.text for one in requests])
    told: dict[str, object] = {}
    for level in verifier.thresholds:
        settings = Examiner(embedder, verifier, level).settings

        def decide(text: str, near: Sequence[Candidate]) -> EntryChoice:
            return choose(text, near, verifier, settings)  # noqa: B023

        told[f"ours {level}"] = stream_marks(requests, rows, decide)
    for threshold in (0.8, 0.85, 0.9, 0.92, 0.95, 0.97):
        told[f"fixed {threshold}"] = stream_marks(requests, rows, fixed(threshold))
    return told


if __name__ == "__main__":
    main()
