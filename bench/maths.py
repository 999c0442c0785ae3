"""Grade-school maths that no weights were trained on: ours, with and without labels, and others.

    python -m bench.maths data/router/routerdc_7small.parquet

Promises: the rows are those of a benchmark of which no row trains the weights; every pair of
models of them is told whose gap is at least `GAP`, none chosen by its result; labels are drawn
`DRAWS` times, and the rest is what is measured on. All orders are measured on the same rows. One
of them, `others wrong`, is no router: it knows how the models outside the pair did.
Not covered: the models themselves. Seven 7B models answered; none of them is strong.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from learning.measures import apgr, auroc, calibration_error
from router.adapt.adapt import LabelledPrompt, fit
from router.score.conversation import question, read
from router.score.features import of_conversation
from router.score.model import Scorer
from text.embed import MiniLM

BENCHMARK = "gsm8k-train"
GAP = 0.1
LABELS = 500
FEW_LABELS = 200
DRAWS = 4
_RIDGES = (30.0, 300.0, 1000.0)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MathsRows:
    """N prompts of one benchmark: (N, D) embeddings, (N, F) surfaces, (N,) scores by model."""

    embeddings: NDArray[np.float32]
    surfaces: NDArray[np.float32]
    scores: dict[str, Floats]

    def pairs(self) -> list[tuple[str, str]]:
        """Weak and strong, by name, wherever the second is right more often by `GAP`."""
        right = {name: float(score.mean()) for name, score in self.scores.items()}
        return [(weak, strong) for weak in right for strong in right
                if right[strong] - right[weak] >= GAP]  # fmt: skip

    def failures(self, pair: tuple[str, str]) -> Floats:
        """(N,) how many of the models outside the pair were wrong."""
        others = [score for name, score in self.scores.items() if name not in pair]
        return np.asarray(np.sum([1 - score for score in others], axis=0, initial=0.0))

    def labelled(self, weak: str, strong: str, at: NDArray[np.intp]) -> LabelledPrompt:
        """What `router.adapt.adapt` learns from."""
        right = np.stack([self.scores[weak], self.scores[strong]], axis=1)
        return LabelledPrompt(self.embeddings[at], self.surfaces[at], right[at])


def load(path: Path, benchmark: str = BENCHMARK) -> MathsRows:
    """Read and embed the rows of a benchmark; raises `ValueError` where there is none."""
    frame = pd.read_parquet(path)
    frame = frame[frame.benchmark == benchmark]
    if frame.empty:
        raise ValueError(f"{path} has no rows of {benchmark!r}")
    chats = [[{"role": "user", "content": prompt}] for prompt in frame.prompt]
    scores = {name.removeprefix("score::"): frame[name].to_numpy(float)
              for name in frame if str(name).startswith("score::")}  # fmt: skip
    return MathsRows(
        MiniLM.installed().embed([question(chat) for chat in chats]),
        np.stack([of_conversation(read(chat)) for chat in chats]),
        scores,
    )


def ridge_order(train: LabelledPrompt, test: LabelledPrompt, penalty: float) -> Floats:
    """The gain that a ridge over embedding and surface features, taught by `train`, predicts.

    What a team without shipped weights would fit; features have the spread of `train`.
    """
    centre, spread = train.surfaces.mean(axis=0), train.surfaces.std(axis=0) + 1e-6

    def inputs(rows: LabelledPrompt) -> Floats:
        surface = np.clip((rows.surfaces - centre) / spread, -4, 4) / np.sqrt(len(centre))
        return np.hstack([rows.embeddings * np.sqrt(rows.embeddings.shape[1]) / 2, surface])

    given = inputs(train)
    gain = train.right[:, 1] - train.right[:, 0]
    mean = given.mean(axis=0)
    given = given - mean
    slopes = np.linalg.solve(
        given.T @ given + penalty * np.eye(given.shape[1]), given.T @ (gain - gain.mean())
    )
    return np.asarray((inputs(test) - mean) @ slopes)


def measured(rows: MathsRows, scorer: Scorer, pair: tuple[str, str]) -> dict[str, float]:
    """APGR of every order, and calibration after few labels, as means over the draws."""
    found: dict[str, list[float]] = {}
    count, failures = len(rows.embeddings), rows.failures(pair)
    for seed in range(DRAWS):
        at = np.random.default_rng(seed).permutation(count)
        taught, rest = (rows.labelled(*pair, part) for part in (at[:LABELS], at[LABELS:]))
        weak, strong = rest.right.T
        plain = scorer.judge(rest.embeddings, rest.surfaces)
        adapted = fit(scorer, taught).judge(rest.embeddings, rest.surfaces)
        orders = {
            "no labels": plain.rank,
            "by P(wrong)": 1 - plain.probability[:, 0],
            f"{LABELS} labels": adapted.rank,
        }
        orders["others wrong"] = failures[at[LABELS:]]
        orders |= {f"ridge {one:g}": ridge_order(taught, rest, one) for one in _RIDGES}
        for name, order in orders.items():
            found.setdefault(name, []).append(apgr(order, weak, strong))
        found.setdefault("AUROC", []).append(auroc(1 - plain.probability[:, 0], 1 - weak))
        few, others = (rows.labelled(*pair, p) for p in (at[:FEW_LABELS], at[FEW_LABELS:]))
        judged = fit(scorer, few).judge(others.embeddings, others.surfaces)
        error = calibration_error(judged.probability[:, 0], others.right[:, 0])
        found.setdefault(f"ECE, {FEW_LABELS} labels", []).append(error)
    return {name: float(np.mean(values)) for name, values in found.items()}


def table(rows: MathsRows, results: Sequence[tuple[tuple[str, str], dict[str, float]]]) -> Table:
    """A row for each pair, and the means."""
    names = list(results[0][1])
    made = Table("weak", "strong", "right", *names, title=f"APGR on {BENCHMARK}")
    for (weak, strong), found in results:
        right = f"{rows.scores[weak].mean():.2f}, {rows.scores[strong].mean():.2f}"
        made.add_row(weak[:22], strong[:22], right, *(f"{found[name]:.3f}" for name in names))
    means = (np.mean([found[name] for _, found in results]) for name in names)
    made.add_row("mean", "", "", *(f"{mean:.3f}" for mean in means), style="bold")
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.maths", description=__doc__)
    parser.add_argument("file", type=Path, help="a parquet file with prompt, benchmark, score::*")
    given = parser.parse_args()
    rows, scorer = load(given.file), Scorer.load()
    results = [(pair, measured(rows, scorer, pair)) for pair in rows.pairs()]
    results.sort(key=lambda result: -rows.scores[result[0][0]].mean())
    Console(width=190).print(table(rows, results))


if __name__ == "__main__":
    main()
