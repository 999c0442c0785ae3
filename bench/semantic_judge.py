"""Whether a model that is asked about pairs adds to the semantic cache's trees.

    python -m bench.semantic_judge DATA_DIR --model FOLDER --work FOLDER

Promises:
- Pairs pass all gates and are drawn by a seed; each set counts alike in every figure.
- A cut-off is chosen on one part of the pairs and measured on the other: halves, both ways round,
  and sets, each measured with the cut-off of the others.
- The work folder keeps pairs and answers, so that a run can be cut, gone on with and read again.
Not covered: Redis, the checks that follow a hit, and what a question costs under load.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.semantic_judge_rows import ANSWERS_FILE, CASES_FILE, TAUGHT, WORDINGS, JudgeCase, sample
from cache.semantic.pair import PromptReader
from cache.semantic.verify import Verifier
from cache.tuning.evaluation import Examiner
from text.embed import MiniLM

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
TARGETS = (0.01, 0.025)
BEYOND = 2.0  # a cut-off that nothing reaches


@dataclass(frozen=True, slots=True)
class Marks:
    """Share of the right pairs that are served, and the share of wrong ones among all served."""

    recall: float
    wrong: float


@dataclass(frozen=True, slots=True)
class JudgeRows:
    """N pairs: label, weight, scores and whether the trees serve at their frozen cut-off; (N,)."""

    label: Bools
    weight: Floats
    trees: Floats
    model: Floats
    served: Bools
    source: NDArray[np.str_]

    def part(self, chosen: Bools) -> JudgeRows:
        """The chosen rows."""
        return JudgeRows(*(getattr(self, name)[chosen] for name in JudgeRows.__slots__))

    def marks(self, served: Bools) -> Marks:
        """What serving these pairs comes to."""
        hits = self.weight[served].sum()
        right = self.weight[served & self.label].sum()
        all_right = self.weight[self.label].sum()
        return Marks(
            float(right / all_right) if all_right else 0.0,
            float((hits - right) / hits) if hits else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Cuts:
    """The least score that serves, of the trees and of the model; either is enough."""

    trees: float = BEYOND
    model: float = BEYOND

    def serve(self, rows: JudgeRows) -> Bools:
        """(N,) which pairs are served."""
        return (rows.trees >= self.trees) | (rows.model >= self.model)


# Whether the trees decide, and whether the model does.
POLICIES = {"trees": (True, False), "model": (False, True), "trees, then model": (True, True)}
_STEPS = 40  # cut-offs that are tried of each score: its quantiles


def rows_of(cases: Sequence[JudgeCase], yes: Mapping[str, float]) -> JudgeRows:
    """The cases that have an answer; every set weighs as much as any other."""
    found = [one for one in cases if one.id in yes]
    source = np.array([one.source for one in found])
    return JudgeRows(
        np.array([bool(one.label) for one in found]),
        np.array([1 / (source == one.source).sum() for one in found]),
        np.array([one.trees for one in found]),
        np.array([yes[one.id] for one in found]),
        np.array([one.served for one in found]),
        source,
    )


def auroc(label: Bools, score: Floats) -> float | None:
    """How often a right pair scores above a wrong one, ties by half; None without both kinds."""
    right, wrong = score[label], score[~label]
    if not len(right) or not len(wrong):
        return None
    above = (right[:, None] > wrong).mean() + 0.5 * (right[:, None] == wrong).mean()
    return float(above)


def cut_offs(rows: JudgeRows, policy: tuple[bool, bool], target: float) -> Cuts:
    """Those with the most recall among those with at most `target` wrong of what is served."""
    trees, model = (
        _tried(score) if used else [BEYOND]
        for score, used in zip((rows.trees, rows.model), policy, strict=True)
    )
    best, recall = Cuts(), 0.0
    for cuts in (Cuts(one, other) for one in trees for other in model):
        marks = rows.marks(cuts.serve(rows))
        if marks.wrong <= target and marks.recall > recall:
            best, recall = cuts, marks.recall
    return best


def _tried(score: Floats) -> list[float]:
    steps = np.quantile(score, np.linspace(0, 1, _STEPS), method="lower")
    return [BEYOND, *np.unique(steps).tolist()]


def crossed(
    rows: JudgeRows, policy: tuple[bool, bool], target: float, parts: Sequence[Bools]
) -> Marks:
    """Each part served at the cut-offs of all the others; marks of the whole."""
    served = np.zeros(len(rows.label), dtype=bool)
    for part in parts:
        served[part] = cut_offs(rows.part(~part), policy, target).serve(rows.part(part))
    return rows.marks(served)


def report(rows: JudgeRows) -> dict[str, object]:
    """All figures of one wording."""
    even = np.arange(len(rows.label)) % 2 == 0
    sets = [rows.source == name for name in np.unique(rows.source)]
    told: dict[str, object] = {"n": len(rows.label), "right": int(rows.label.sum())}
    refused = rows.part(~rows.served)
    for name, one in (("all", rows), ("refused", refused)):
        told[f"auroc {name}"] = _aurocs(one)
    told["trees at their cut-off"] = asdict(rows.marks(rows.served))
    for target in TARGETS:
        for name, policy in POLICIES.items():
            told[f"{name}, {target:.1%} wrong"] = {
                "halves": asdict(crossed(rows, policy, target, [even, ~even])),
                "sets": asdict(crossed(rows, policy, target, sets)),
            }
    told["of the refused, the tenth that the model is surest of"] = {
        "n": (tenth := max(1, len(refused.label) // 10)),
        "wrong": float(1 - refused.label[np.argsort(-refused.model)][:tenth].mean()),
        "wrong of all": float(1 - refused.label.mean()),
    }
    told["auroc refused, by halves"] = [
        _aurocs(refused.part(np.arange(len(refused.label)) % 2 == half)) for half in (0, 1)
    ]
    told["by set, refused"] = {
        str(name): {"n": int(here.sum()), "taught": name in TAUGHT, **_aurocs(refused.part(here))}
        for name in np.unique(refused.source)
        for here in [refused.source == name]
    }
    return told


def _aurocs(rows: JudgeRows) -> dict[str, float | None]:
    return {"trees": auroc(rows.label, rows.trees), "model": auroc(rows.label, rows.model)}


def answers(work: Path) -> dict[str, dict[str, float]]:
    """By wording and case, P(yes); questions without an answer are left out."""
    found: dict[str, dict[str, float]] = {name: {} for name in WORDINGS}
    for line in (work / ANSWERS_FILE).read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        if one["yes"] is not None:
            found[one["wording"]][one["id"]] = one["yes"]
    both = found["examples"].keys() & found["examples_swapped"].keys()
    swapped = {id: found["examples_swapped"][id] for id in both}
    found["examples, both orders"] = {id: min(found["examples"][id], swapped[id]) for id in both}
    return found


def main() -> None:
    """Draw the pairs unless that was done, ask what was not asked, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.semantic_judge")
    parser.add_argument("data", type=Path, help="folder with the *.jsonl.gz files")
    parser.add_argument("--work", type=Path, required=True, help="folder for pairs and answers")
    parser.add_argument("--model", type=Path, help="weights; without them nothing is asked")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    listed = given.work / CASES_FILE
    if not listed.exists():
        embedder = MiniLM.installed()
        examiner = Examiner(embedder, Verifier.load(PromptReader(embedder, kept=1 << 13)))
        drawn = sample(given.data, examiner, given.pairs, given.seed)
        listed.write_text("".join(json.dumps(asdict(one)) + "\n" for one in drawn))
    if given.model:
        engine = [sys.executable, "-m", "bench.semantic_judge_engine"]
        subprocess.run([*engine, str(given.model), str(given.work)], check=True)
    cases = [JudgeCase(**json.loads(line)) for line in listed.read_text().splitlines()]
    told = {name: report(rows_of(cases, yes)) for name, yes in answers(given.work).items() if yes}
    if given.json:
        print(json.dumps(told))
        return
    for name, figures in told.items():
        table = Table("measure", "value", title=name)
        for key, value in figures.items():
            table.add_row(key, json.dumps(value))
        Console(width=180).print(table)


if __name__ == "__main__":
    main()
