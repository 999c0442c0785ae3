"""Check a score on new subjects, with few labels, and with other wording.

Promises: no row is judged by a model that learned from it, its source or its subject, whichever
the question is about; everything is drawn by a fixed seed.
Not covered: the exams themselves, whose rows are never at hand here.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from core.ports import Embedder
from learning.measures import apgr, calibration_error
from router.adapt.adapt import LabelledPrompt, fit
from router.score.features import surface
from router.score.model import Scorer, Weights
from training.router import card
from training.router.candidates import fit_both
from training.router.dataset import LEARNED, REFERENCE, SOURCES, PromptTable, Rows

# These are a fifth of the source, or odd enough to have no relative in it.
ALWAYS_LEARNED = ("moral_scenarios", "professional_law", "miscellaneous")
PARTS, ROUNDS = 3, 2
LABELS = (0, 100, 200, 500)
DRAWS = 5
REWORDED_ROWS = 600

_OPTION = re.compile(r"^([A-P][.):] )(.*)$")


def gates(
    table: PromptTable,
    shipped: Weights,
    embedder: Embedder,
    weigh: Callable[[PromptTable, Rows], Rows],
) -> card.Gates:
    """All three questions; `shipped` lends its calibration, `weigh` repeats rows as in training."""

    def scorer(rows: Rows) -> Scorer:
        fitted = fit_both(table, weigh(table, rows))
        return Scorer(replace(fitted, platt=shipped.platt, reach=shipped.reach), "", 0.0)

    return card.Gates(
        new_subjects(table, scorer),
        tuple(learning(table, name, scorer) for name in SOURCES),
        reworded(table, scorer, embedder),
    )


def new_subjects(
    table: PromptTable, scorer: Callable[[Rows], Scorer]
) -> tuple[float, float, float]:
    """APGR on a third of the subjects, learned from the others: mean, least, greatest."""
    found = []
    for rows in _subject_parts(table):
        judged = scorer(_others(table, rows)).judge(table.embeddings[rows], table.surfaces[rows])
        found.append(apgr(judged.rank, *table.right[rows].T))
    return float(np.mean(found)), min(found), max(found)


def learning(table: PromptTable, source: str, scorer: Callable[[Rows], Scorer]) -> card.Learning:
    """APGR and ECE on a source left out, by how many of its labels the score is adapted to."""
    rows = table.of(source)
    base, areas, errors = scorer(_others(table, rows)), [], []
    for labels in LABELS:
        drawn = [_adapted(table, rows, base, labels, seed) for seed in range(DRAWS)]
        area, error = np.mean(drawn, axis=0)
        areas.append(float(area))
        errors.append(float(error))
    return card.Learning(source, tuple(areas), tuple(errors))


def reworded(
    table: PromptTable, scorer: Callable[[Rows], Scorer], embedder: Embedder
) -> tuple[card.Reworded, ...]:
    """APGR and rank correlation after a change that leaves every question the same."""
    reference = table.of(REFERENCE)
    rows = reference[table.fold[reference] == 0][:REWORDED_ROWS]
    fold = np.flatnonzero(table.fold == 0)
    judge = scorer(np.setdiff1d(table.of(*LEARNED), fold)).judge
    base, lines = judge(table.embeddings[rows], table.surfaces[rows]).rank, []
    for name, change in _CHANGES.items():
        texts = [change(table.prompt[row]) for row in rows]
        counted = np.stack([surface([{"role": "user", "content": text}]) for text in texts])
        rank = judge(embedder.embed(texts), counted).rank
        moved = 1 - float(np.corrcoef(rank, base)[0, 1])
        lines.append(card.Reworded(name, apgr(rank, *table.right[rows].T), moved))
    return tuple(lines)


def _subject_parts(table: PromptTable) -> Iterator[Rows]:
    reference = table.of(REFERENCE)
    names = np.setdiff1d(table.subject[reference], ALWAYS_LEARNED)
    for seed in range(ROUNDS):
        order = np.random.default_rng(seed).permutation(names)
        for part in range(PARTS):
            yield reference[np.isin(table.subject[reference], order[part::PARTS])]


def _others(table: PromptTable, rows: Rows) -> Rows:
    return np.setdiff1d(table.of(*LEARNED), rows)


def _adapted(
    table: PromptTable, rows: Rows, base: Scorer, labels: int, seed: int
) -> tuple[float, float]:
    """APGR and ECE of P(small right) on the rows that were not drawn as labels."""
    drawn = np.random.default_rng(seed).permutation(rows)
    known, rest = drawn[:labels], drawn[labels:]
    embeddings, surfaces, right = table.embeddings, table.surfaces, table.right
    labelled = LabelledPrompt(embeddings[known], surfaces[known], right[known])
    judged = (fit(base, labelled) if labels else base).judge(embeddings[rest], surfaces[rest])
    error = calibration_error(judged.probability[:, 0], right[rest, 0])
    return apgr(judged.rank, *right[rest].T), error


def _shuffled(text: str) -> str:
    """The text with its options in another order, the letters in the old one."""
    lines = text.split("\n")
    found = {at: match for at, line in enumerate(lines) if (match := _OPTION.match(line))}
    options = [match[2] for match in found.values()]
    random.Random(len(text)).shuffle(options)
    for (at, match), option in zip(found.items(), options, strict=True):
        lines[at] = match[1] + option
    return "\n".join(lines)


def _spaced(text: str) -> str:
    return "  " + text.replace(" ", "   ").replace("\n", "\n\n") + " \n"


_CHANGES: dict[str, Callable[[str], str]] = {
    "unchanged": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "more spaces and empty lines": _spaced,
    "options shuffled": _shuffled,
}
