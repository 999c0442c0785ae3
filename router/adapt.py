"""The shipped score, corrected by a few hundred labelled prompts of one's own domain.

Promises: numpy only and the same rows give the same correction; it is the shipped probability,
recalibrated, plus a ridge regression of what that left over, whose strength is chosen by leaving
each labelled row out. Where the labels teach nothing the strength grows until the shipped ranking
is all that is left. What comes out scores prompts as a `Scorer` does, and may replace one while
calls are served: 200 rows take some 0.05 s.
Not covered: labels that are wrong or of another domain than the calls to come; the shipped weights
do not change, so that an adaptation can be dropped at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import BadRequest
from router.calibrate import platt, threshold_for
from router.features import STEADY
from router.score import HEADS, Z_LIMIT, Judged, Score, Scorer, distances, sigmoid

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

MIN_ROWS = 20
# A label moves the shipped slope only against the weight of this many: on strange ground 100 rows
# else make confident nonsense of it.
SLOPE_PRIOR = 5.0
# How much a standardised dimension of the embedding may say, beside 1 for a counted feature: there
# are 384 of them. 0.3 and 1 were measured too, and choosing among them by the left-out rows: each
# is better somewhere, none everywhere.
EMBEDDING_SHARE = 0.5
# What the small model has answered says more of its rightness than all that was asked.
ANSWER_SHARE = 8.0
STRENGTHS = 10.0 ** np.arange(1.0, 6.6, 0.5)
TARGET_PGR = 0.75
# Probabilities stay clear of certainty by this much: some hundred rows cannot prove more.
CERTAINTY = 0.01


class TooFewLabels(BadRequest):
    """Fewer labelled rows than an adaptation needs; the message has both counts."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """N prompts with known outcome.

    embeddings (N, E) unit rows; surfaces (N, F); right (N, 2): how right (small, large) was, in
    [0, 1]; answers (N, A): what was measured of the small model's answers, None before there are.
    """

    embeddings: Features
    surfaces: Features
    right: Floats
    answers: Features | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """What the labels teach, over D = F + E (+ A) inputs.

    slopes (2, 2): slope and offset per head on the shipped logit; centre, scale and share (D,):
    how an input is standardised and how loud it is; linear (D, 2) and bias (2,).
    """

    slopes: Floats
    centre: Floats
    scale: Floats
    share: Floats
    linear: Floats
    bias: Floats

    def recalibrated(self, probability: Floats) -> Floats:
        """(N, 2) from the shipped (N, 2), before the inputs have their say."""
        logits = np.log(probability / (1 - probability))
        return sigmoid(logits * self.slopes[:, 0] + self.slopes[:, 1])

    def inputs(self, raw: Floats) -> Floats:
        """(N, D) standardised and weighed."""
        standard = np.clip((raw - self.centre) / self.scale, -Z_LIMIT, Z_LIMIT)
        return np.asarray(standard * self.share)


class Adapted:
    """A `Scorer` with a correction. Safe to share between threads: nothing changes after making.

    `version` names the shipped weights and how many rows were added; `threshold` is the cut-off
    that recovers the wanted share of the gap on the labelled rows, each predicted without itself.
    """

    def __init__(self, scorer: Scorer, correction: Correction, labelled: Labelled) -> None:
        self._scorer = scorer
        self._correction = correction
        self._sample = np.vstack([scorer.weights.sample, labelled.embeddings])
        self.version = f"{scorer.version}+{len(labelled.right)}"
        self.threshold = scorer.threshold

    @property
    def familiar(self) -> float:
        """The distance up to which a prompt counts as like those learned from."""
        return self._scorer.familiar

    def judge(
        self, embeddings: Features, surfaces: Features, answers: Features | None = None
    ) -> Judged:
        """Judge N prompts; shapes as in `Labelled`, `answers` if and only if it had some."""
        shipped = self._scorer.judge(embeddings, surfaces).probability
        learned = self._correction
        inputs = learned.inputs(_side_by_side(embeddings, surfaces, answers))
        left_over = inputs @ learned.linear + learned.bias
        probability = _possible(learned.recalibrated(shipped) + left_over)
        distance = distances(self._sample, embeddings).astype(np.float64)
        return Judged(probability, distance, _gain(probability))

    def score(
        self, embedding: Features, surface: Features, answer: Features | None = None
    ) -> Score:
        """Score one prompt from (E,), (F,) and, after an answer, (A,)."""
        answers = None if answer is None else answer[None]
        return self.judge(embedding[None], surface[None], answers).score(0, self.version)


def fit(scorer: Scorer, labelled: Labelled, target_pgr: float = TARGET_PGR) -> Adapted:
    """The scorer corrected by these rows; raises `TooFewLabels` below `MIN_ROWS`."""
    if len(labelled.right) < MIN_ROWS:
        raise TooFewLabels(f"{len(labelled.right)} labelled rows; at least {MIN_ROWS} are needed")
    raw = _side_by_side(labelled.embeddings, labelled.surfaces, labelled.answers)
    shipped = scorer.judge(labelled.embeddings, labelled.surfaces).probability
    correction = _standardiser(raw, labelled, _slopes(shipped, labelled.right))
    inputs, base = correction.inputs(raw), correction.recalibrated(shipped)
    linear, bias, errors = ridge(inputs, labelled.right - base)
    fitted = Correction(
        correction.slopes, correction.centre, correction.scale, correction.share, linear, bias
    )
    adapted = Adapted(scorer, fitted, labelled)
    needs = np.clip(_gain(_possible(labelled.right - errors)), 0, 1)
    weak, strong = labelled.right.T
    adapted.threshold = threshold_for(needs, weak, strong, target_pgr)
    return adapted


def ridge(inputs: Floats, targets: Floats) -> tuple[Floats, Floats, Floats]:
    """Weights (D, H), offsets (H,) and left-out errors (N, H) for inputs (N, D), targets (N, H).

    The strength is the one of `STRENGTHS` whose left-out errors are smallest; they are exact, from
    one eigendecomposition of the (N, N) products, whatever D is.
    """
    centre, mean = inputs.mean(axis=0), targets.mean(axis=0)
    centred, wanted = inputs - centre, targets - mean
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, turned = np.maximum(values, 0), vectors.T @ wanted
    best_error, best_strength, errors = np.inf, STRENGTHS[-1], wanted
    for strength in STRENGTHS:
        kept = values / (values + strength)
        lever = (vectors**2 * kept).sum(axis=1) + 1 / len(inputs)
        left_out = (wanted - vectors @ (kept[:, None] * turned)) / (1 - lever)[:, None]
        if (error := float((left_out**2).mean())) < best_error:
            best_error, best_strength, errors = error, strength, left_out
    linear = centred.T @ (vectors @ (turned / (values + best_strength)[:, None]))
    return linear, mean - centre @ linear, errors


def _slopes(probability: Floats, right: Floats) -> Floats:
    logits = np.log(probability / (1 - probability))
    return np.stack([platt(logits[:, head], right[:, head], SLOPE_PRIOR) for head in range(HEADS)])


def _standardiser(raw: Floats, labelled: Labelled, slopes: Floats) -> Correction:
    """A correction that standardises and corrects nothing yet."""
    spread = raw.std(axis=0)
    counted, embedded = labelled.surfaces.shape[1], labelled.embeddings.shape[1]
    share = np.full(raw.shape[1], ANSWER_SHARE)
    share[:counted], share[counted : counted + embedded] = 1.0, EMBEDDING_SHARE
    return Correction(
        slopes=slopes,
        centre=raw.mean(axis=0),
        # An input that hardly varies here must not become loud where it varies for once.
        scale=np.where(spread > 1e-3, spread, 1.0),
        share=share,
        linear=np.zeros((raw.shape[1], HEADS)),
        bias=np.zeros(HEADS),
    )


def _side_by_side(embeddings: Features, surfaces: Features, answers: Features | None) -> Floats:
    steady = surfaces * STEADY
    blocks = [steady, embeddings] if answers is None else [steady, embeddings, answers]
    return np.hstack(blocks).astype(np.float64)


def _gain(probability: Floats) -> Floats:
    """(N,) the rank where labels are known: no guess of how strange the ground is, is needed.

    With it, and with the shipped `advantage`, up to 0.02 APGR were lost in seven domains of eight.
    """
    return np.asarray(probability[:, 1] - probability[:, 0])


def _possible(probability: Floats) -> Floats:
    return np.asarray(np.clip(probability, CERTAINTY, 1 - CERTAINTY))
