"""Fit the constants of `uncertainty` and `cascade` to graded answers, and measure them.

    python -m bench.answers --kept ../shared/data/router/dev
    python -m training.router.fit_uncertainty bench/out/answers.jsonl

Promises: no weight is negative, so that more surprise never lowers a doubt. Right and wrong answers
of a model count the same in all, so that a doubt of a half is evidence of neither. What is measured
of a fit is measured on a kind of question, and if so asked on a model, that it did not see. The
printed constants go into the two modules by hand.
Not covered: how often another model is wrong, which shifts every doubt alike; and answers that a
limit of tokens broke off, which are left out: they are wrong for a reason that is not in their
tokens. Needs scipy; serving never imports this module.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize, minimize_scalar

from learning.measures import Floats, auroc, bootstrap, calibration_error
from router.judge import cascade, uncertainty
from training.router.graded import GradedRows, logit, read

PREFIXES = (8, 16, 32)
SHRINKAGE = 0.02  # of squared weights, on columns of unit spread
# No feature that grows with length alone, and no mean.
LEARNABLE = tuple(
    name
    for name in uncertainty.NAMES
    if name not in ("tokens", "surprise_mean") and not name.endswith(("1_mean", "5_mean", "0_mean"))
)
# The weights of `uncertainty` before there were answers to learn from.
BY_HAND = {
    **{"surprise_q90": 0.8, "worst_share_mean": 0.5, "share_below_p50": 4.0},
    **{"first": 0.15, "final_mean": 0.6},
}


@dataclass(frozen=True, slots=True)
class UncertaintyFit:
    """P(wrong) = sigmoid(values @ weights + offset), weights (q,) not negative."""

    weights: Floats
    offset: float

    def evidence(self, values: Floats) -> Floats:
        """(n,) of (n, q)."""
        return np.asarray(values @ self.weights + self.offset)


Fitter = Callable[[Floats, Floats, Floats], UncertaintyFit]


def nonnegative(
    values: Floats, wrong: Floats, weight: Floats, shrinkage: float = SHRINKAGE
) -> UncertaintyFit:
    """Logistic regression of (n,) outcomes on (n, q) with weights of at least 0.

    `weight` (n,) sums to one. L-BFGS-B under bounds, on columns divided by their spread.
    """
    scale = np.maximum(values.std(axis=0), 1e-6)
    unit = values / scale

    def loss(point: Floats) -> tuple[float, Floats]:
        logit = unit @ point[:-1] + point[-1]
        cost = weight @ (np.logaddexp(0.0, logit) - wrong * logit)
        miss = weight * (1.0 / (1.0 + np.exp(-logit)) - wrong)
        slope = np.append(unit.T @ miss + 2 * shrinkage * point[:-1], miss.sum())
        return float(cost + shrinkage * (point[:-1] ** 2).sum()), slope

    bounds = [*[(0.0, None)] * values.shape[1], (None, None)]
    found = minimize(loss, np.zeros(values.shape[1] + 1), jac=True, bounds=bounds).x
    return UncertaintyFit(found[:-1] / scale, float(found[-1]))


def level(score: Floats, wrong: Floats, weight: Floats) -> float:
    """The offset that makes sigmoid((n,) score + offset) likeliest."""

    def loss(offset: float) -> float:
        at = score + offset
        return float(weight @ (np.logaddexp(0.0, at) - wrong * at))

    return float(minimize_scalar(loss).x)


def held_out(
    rows: GradedRows, values: Floats, other_model: bool = False, fit: Fitter = nonnegative
) -> Floats:
    """(n,) evidence from fits to other kinds of question, and if so asked to other models only.

    Without the offset: that of a fit without a kind leans against what the kind itself is.
    """
    subject = np.array([kind.split()[0] for kind in rows.kind])
    found = np.zeros(len(values))
    for kind in np.unique(subject):
        for tier in np.unique(rows.tier):
            test = (subject == kind) & (rows.tier == tier)
            learn = subject != kind
            if other_model:
                learn &= rows.tier != tier
            if test.any():
                fitted = fit(values[learn], rows.wrong[learn], rows.weight(learn))
                found[test] = values[test] @ fitted.weights
    return found


def within(score: Floats, wrong: Floats, group: NDArray[Any]) -> float:
    """AUROC over pairs of the same group only, so that an easy kind is not mistaken for a sure
    answer; nan without such pairs.
    """
    total = pairs = 0.0
    for each in np.unique(group):
        these = group == each
        here = float(wrong[these].sum() * (1 - wrong[these]).sum())
        if here:
            total += here * auroc(score[these], wrong[these])
            pairs += here
    return total / pairs if pairs else float("nan")


def evidence(rows: GradedRows, tokens: Floats) -> Floats:
    """(n, 4) of text, tokens (n,) in logits, agreement as -1, and disagreement as 1."""
    return np.stack([rows.text, tokens, -1.0 * (rows.agrees > 0), 1.0 * (rows.agrees < 0)], axis=1)


def joint(values: Floats, wrong: Floats, weight: Floats) -> UncertaintyFit:
    """One fit for all that may be at hand: text alone, with tokens, with a second answer, or both.

    A column that is not at hand is 0, which is why its absence neither raises nor lowers a doubt.
    """
    masks = [[1, tokens, second, second] for tokens in (0, 1) for second in (0, 1)]
    stacked = np.concatenate([values * np.array(mask) for mask in masks])
    return nonnegative(stacked, np.tile(wrong, 4), np.tile(weight, 4) / 4)


def rankings(rows: GradedRows) -> dict[str, Floats]:
    """(n,) each: the ways to rank answers by their tokens alone."""
    values, names = rows.features(), list(uncertainty.NAMES)
    sums = [float(-np.clip(each, -uncertainty.MAX_SURPRISE, 0).sum()) for each in rows.logprobs]
    learnable = values[:, [names.index(name) for name in LEARNABLE]]
    few = values[:, [names.index(name) for name in uncertainty.WEIGHTS]]
    return {
        "sum of log-probs": np.array(sums),
        "mean log-prob": values[:, names.index("surprise_mean")],
        "largest surprise": values[:, names.index("worst_1_mean")],
        **{name: values[:, at] for at, name in enumerate(names) if name.startswith("surprise_q")},
        "by hand": values @ _by_hand(),
        "learned, all features": held_out(rows, learnable),
        "learned, all features, other model": held_out(rows, learnable, other_model=True),
        "learned, as shipped": held_out(rows, few),
        "learned, as shipped, other model": held_out(rows, few, other_model=True),
    }


def compare(rows: GradedRows, found: dict[str, Floats], title: str) -> Table:
    """AUROC of "wrong" by model, over all its answers and within kinds of question."""
    tiers = sorted(set(rows.tier.tolist()), reverse=True)
    table = Table("ranking", *(f"{t}, {how}" for t in tiers for how in ("all", "within kinds")))
    table.title = title
    _, group = np.unique(rows.kind, return_inverse=True)
    for name, score in found.items():
        cells = []
        for tier in tiers:
            these = rows.tier == tier
            part, wrong = score[these], rows.wrong[these]
            cells += [bootstrap(auroc, part, wrong), bootstrap(within, part, wrong, group[these])]
        table.add_row(name, *map(str, cells))
    return table


def joined(rows: GradedRows) -> dict[str, Floats]:
    """(n,) each: text, tokens and the second answer, alone and together."""
    tokens = np.array([logit(uncertainty.doubt(each)) for each in rows.logprobs])
    columns = evidence(rows, tokens)
    shipped, hand = _shipped(), rows.features() @ _by_hand()
    unseen = partial(held_out, rows, fit=joint)
    return {
        "text": columns[:, 0],
        "tokens": tokens,
        "second answer": columns[:, 2] + columns[:, 3],
        "text and tokens, by hand": columns[:, 0] + 0.6 * hand,
        "text and tokens, learned": unseen(columns * [1, 1, 0, 0]),
        "text and tokens, learned, other model": unseen(columns * [1, 1, 0, 0], other_model=True),
        "text and tokens, as shipped": columns[:, :2] @ shipped[:2],
        "all, by hand": columns @ np.array([1.0, 0.0, 1.5, 2.5]) + 0.6 * hand,
        "all, learned": unseen(columns),
        "all, learned, other model": unseen(columns, other_model=True),
        "all, as shipped": columns @ shipped,
    }


def _shipped() -> Floats:
    return np.array([cascade.TEXT, cascade.TOKENS, -cascade.AGREES, cascade.DISAGREES])


def _by_hand() -> Floats:
    return np.array([BY_HAND.get(name, 0.0) for name in uncertainty.NAMES])


def calibration(rows: GradedRows, doubts: Floats) -> str:
    """Expected calibration error of (n,) doubts at even odds, put to each model's own odds."""
    told = []
    for tier in np.unique(rows.tier):
        these = rows.tier == tier
        own = np.array([logit(each) for each in doubts[these]]) + logit(rows.wrong[these].mean())
        error = calibration_error(1 / (1 + np.exp(-own)), rows.wrong[these], bins=10)
        told.append(f"{tier} {error:.3f}")
    return ", ".join(told)


def constants(rows: GradedRows) -> str:
    """What goes into the two modules, learned from all rows."""
    names, everything = list(uncertainty.NAMES), np.ones(len(rows.wrong), dtype=bool)
    few = rows.features()[:, [names.index(name) for name in uncertainty.WEIGHTS]]
    fitted = nonnegative(few, rows.wrong, rows.weight(everything))
    told = ", ".join(
        f'"{name}": {weight:.2f}'
        for name, weight in zip(uncertainty.WEIGHTS, fitted.weights, strict=True)
    )
    columns = evidence(rows, fitted.evidence(few))
    both = joint(columns, rows.wrong, rows.weight(everything))
    shipped = level(columns @ _shipped(), rows.wrong, rows.weight(everything))
    return (
        f"uncertainty: WEIGHTS = {{{told}}}; offset {fitted.offset:.2f}\n"
        f"cascade: text, tokens, agrees, disagrees {np.round(both.weights, 2)}; "
        f"offset {both.offset:.2f}; of the shipped weights {shipped:.2f}"
    )


def main() -> None:
    """Print how every ranking does, then the constants."""
    parser = argparse.ArgumentParser(
        prog="python -m training.router.fit_uncertainty", description=__doc__
    )
    parser.add_argument("answers", type=Path)
    rows = read(parser.parse_args().answers)
    console = Console(width=200)
    for tier in np.unique(rows.tier):
        wrong = rows.wrong[rows.tier == tier]
        console.print(f"{tier}: {len(wrong)} whole answers, {wrong.mean():.1%} of them wrong")
    console.print(compare(rows, rankings(rows), "tokens alone"))
    whole = np.array([uncertainty.doubt(each) for each in rows.logprobs])
    console.print(f"calibration error of the tokens' doubt: {calibration(rows, whole)}")
    for count in PREFIXES:
        longer = np.array([len(each) > count for each in rows.logprobs])
        prefix = np.array([uncertainty.doubt(each[:count]) for each in rows.logprobs])
        told = {f"the first {count}": prefix[longer], "the whole": whole[longer]}
        title = f"answers of more than {count} tokens: {longer.sum()}"
        console.print(compare(rows.at(longer), told, title))
    console.print(compare(rows, joined(rows), "with text and a second answer"))
    second = rows.agrees != 0
    some = {name: score[second] for name, score in joined(rows).items()}
    console.print(compare(rows.at(second), some, f"of answers with a second one: {second.sum()}"))
    console.print(constants(rows))


if __name__ == "__main__":
    main()
