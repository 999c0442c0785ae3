"""Evaluate a score on a file of graded prompts.

Promises: every figure comes with the 95 % interval of a bootstrap over rows; rows that were
labelled to adapt the score are not examined; the same file, seed and weights give the same result.
A result says of itself whether it is worth trusting: `known` is false, with the reason in
`caution`, where the rows are unlike all that was learned from or the ranking is not better than
chance on them.
Not covered: grading. The file has a column `prompt` and, for each model, `score::<model>`: how
right it was, in [0, 1]. With answers it also has the small model's text under `text::<model>`,
`answer::`, `response::` or `output::`. Rows without a score of either model are left out, and
rows that a column `contaminated` marks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import BadRequest, HansomError
from core.files.table_file import read_table
from core.ports import Embedder
from learning.measures import (
    Floats,
    Interval,
    apgr,
    auroc,
    bootstrap,
    calibration_error,
    cpt,
    share_for,
)
from router.adapt.adapt import MIN_ROWS, Adapted, LabelledPrompt, fit
from router.judge import answer
from router.score.conversation import question
from router.score.features import surface
from router.score.model import Judged, Scorer

ANSWER_COLUMNS = ("text", "answer", "response", "output")
# Rows that a benchmark's authors marked as known to a model, as RouteLLM's have them.
CONTAMINATED = "contaminated"
# Fewer examined rows than this say nothing about a ranking.
MIN_EXAMINED = 30
# An untrained check of the answer tells more than the prompt does; the prompt's rank decides
# between answers of nearly the same doubt.
RANK_BESIDE_DOUBT = 0.3
GOOD_ENOUGH = 0.95


class ExamError(BadRequest):
    """A file cannot be examined; the message says what is wrong and what there is instead."""


class ExamFileMissing(ExamError):
    """There is no readable Parquet or CSV file at this path."""


class ExamColumnMissing(ExamError):
    """A needed column is not in the file; names those that are."""


class TooFewRows(ExamError):
    """The file leaves fewer rows than a measure needs."""


@dataclass(frozen=True, slots=True)
class Paper:
    """The n rows of a file. right (n, 2): how right (small, large) was, in [0, 1]."""

    prompts: tuple[str, ...]
    right: Floats
    answers: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Exam:
    """What was measured on n rows.

    apgr 1 is a straight recovery of the whole gap, 0.5 chance; cpt50, cpt80 and
    strong_share_at_95 in percent of calls: the least share of the strong model that recovers 50 %
    and 80 % of the gap, and that is 95 % as right as the strong model alone. auroc: of 'the small
    model is wrong'; ece: of P(small right). distance: mean, as in `Score`. adapted: labelled rows.
    """

    n: int
    apgr: Interval
    cpt50: Interval
    cpt80: Interval
    auroc: Interval
    ece: Interval
    strong_share_at_95: Interval
    small_right: float
    large_right: float
    distance: float
    adapted: int
    answers: bool
    version: str
    caution: str

    @property
    def known(self) -> bool:
        """Whether the ranking may be relied on for rows like these."""
        return not self.caution

    def as_json(self) -> dict[str, object]:
        """Flat and ready for `json.dumps`; a value that does not exist is null."""
        told: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Interval):
                told[field.name] = _number(value.value)
                told[f"{field.name}_low"] = _number(value.low)
                told[f"{field.name}_high"] = _number(value.high)
            else:
                told[field.name] = _number(value) if isinstance(value, float) else value
        return {**told, "known": self.known}


def evaluate_file(
    path: Path,
    weak: str,
    strong: str,
    *,
    adapt: int | None = None,
    seed: int = 0,
    answers: bool = False,
    scorer: Scorer,
    embedder: Embedder,
) -> Exam:
    """Examine `scorer` on a file; with `adapt` on all rows but that many, drawn by `seed`.

    Raises `ExamFileMissing`, `ExamColumnMissing` and `TooFewRows`.
    """
    paper = read(path, weak, strong, answers=answers)
    size, labels = len(paper.prompts), adapt or 0
    if size - labels < MIN_EXAMINED or 0 < labels < MIN_ROWS:
        raise TooFewRows(
            f"{path} has {size} graded rows: {labels} to adapt to (none, or at least {MIN_ROWS}) "
            f"must leave {MIN_EXAMINED} to examine"
        )
    rows = np.random.default_rng(seed).permutation(size)
    labelled = _labelled(paper, embedder)
    rest = _at(labelled, np.sort(rows[labels:]))
    if labels:
        adapted = fit(scorer, _at(labelled, rows[:labels]))
        judged = adapted.judge(rest.embeddings, rest.surfaces, rest.answers)
        return _marks(judged, rest, judged.rank, 1 - judged.probability[:, 0], adapted, labels)
    judged = scorer.judge(rest.embeddings, rest.surfaces)
    if rest.answers is None:
        return _marks(judged, rest, judged.rank, 1 - judged.probability[:, 0], scorer, 0)
    doubt = rest.answers[:, -1].astype(np.float64)
    ranked = doubt + RANK_BESIDE_DOUBT * judged.rank
    return _marks(judged, rest, ranked, doubt, scorer, 0)


def read(path: Path, weak: str, strong: str, *, answers: bool) -> Paper:
    """The graded rows of a file; raises `ExamFileMissing` and `ExamColumnMissing`."""
    try:
        table = read_table(path)
    except HansomError as error:
        raise ExamFileMissing(error.message) from error
    names = tuple(table.column_names)
    scores = [f"score::{model}" for model in (weak, strong)]
    wanted = [_column(path, names, "prompt"), *(_column(path, names, name) for name in scores)]
    if answers:
        wanted.append(_column(path, names, *(f"{kind}::{weak}" for kind in ANSWER_COLUMNS)))
    columns = [table[name].to_pylist() for name in wanted]
    right = np.array(columns[1:3], dtype=np.float64).T
    counted = np.isfinite(right).all(axis=1)
    if CONTAMINATED in names:
        marked = table[CONTAMINATED].to_pylist()
        counted &= ~np.array(marked, dtype=bool)
    graded = np.flatnonzero(counted)
    return Paper(
        prompts=tuple(_text(columns[0][row]) for row in graded),
        right=right[graded],
        answers=tuple(_text(columns[3][row]) for row in graded) if answers else None,
    )


def caution(apgr: Interval, distance: float, familiar: float) -> str:
    """Why not to rely on a ranking, in words; empty when nothing speaks against it.

    `familiar` is the distance up to which a prompt counts as known.
    """
    found = []
    if not apgr.low > 0.5:
        found.append(
            f"on these rows the ranking is not shown to be better than chance (APGR {apgr}, "
            "chance is 0.5)"
        )
    if distance > familiar:
        found.append(
            f"these prompts are unlike those learned from (mean distance {distance:.3f}, "
            f"familiar is up to {familiar:.3f})"
        )
    return "; ".join(found) and "the score does not know this traffic: " + "; ".join(found)


def _column(path: Path, names: Sequence[str], *wanted: str) -> str:
    """The first of the wanted names that is there."""
    for name in wanted:
        if name in names:
            return name
    raise ExamColumnMissing(
        f"{path} has no column {' or '.join(wanted)}; it has {', '.join(names) or 'none'}"
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _labelled(paper: Paper, embedder: Embedder) -> LabelledPrompt:
    """Everything measured of every row; the last of the answers' columns is their doubt."""
    chats = [[{"role": "user", "content": prompt}] for prompt in paper.prompts]
    answers = None
    if paper.answers is not None:
        pairs = list(zip(paper.prompts, paper.answers, strict=True))
        features = np.stack([answer.features(*pair) for pair in pairs])
        doubts = [[answer.doubt_of(values)] for values in features]
        answers = np.hstack([features, np.array(doubts, dtype=np.float32)])
    return LabelledPrompt(
        embeddings=embedder.embed([question(chat) for chat in chats]),
        surfaces=np.stack([surface(chat) for chat in chats]),
        right=paper.right,
        answers=answers,
    )


def _at(labelled: LabelledPrompt, rows: NDArray[np.intp]) -> LabelledPrompt:
    answers = None if labelled.answers is None else labelled.answers[rows]
    return LabelledPrompt(
        labelled.embeddings[rows], labelled.surfaces[rows], labelled.right[rows], answers
    )


def _marks(
    judged: Judged,
    rest: LabelledPrompt,
    ranked: Floats,
    doubt: Floats,
    scorer: Scorer | Adapted,
    adapted: int,
) -> Exam:
    """The measures of one ranking; `ranked` and `doubt` are (n,), of need and of 'small wrong'."""
    weak, strong = rest.right.T
    area = bootstrap(apgr, ranked, weak, strong)
    distance = float(judged.distance.mean())
    return Exam(
        n=len(weak),
        apgr=area,
        cpt50=_percent(bootstrap(partial(cpt, target=0.5), ranked, weak, strong)),
        cpt80=_percent(bootstrap(partial(cpt, target=0.8), ranked, weak, strong)),
        auroc=bootstrap(auroc, doubt, 1 - weak),
        ece=bootstrap(calibration_error, judged.probability[:, 0], weak),
        strong_share_at_95=_percent(
            bootstrap(partial(share_for, quality=GOOD_ENOUGH), ranked, weak, strong)
        ),
        small_right=float(weak.mean()),
        large_right=float(strong.mean()),
        distance=distance,
        adapted=adapted,
        answers=rest.answers is not None,
        version=scorer.version,
        caution=caution(area, distance, scorer.familiar),
    )


def _percent(share: Interval) -> Interval:
    return Interval(100 * share.value, 100 * share.low, 100 * share.high)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
