"""Correct the shipped score with a few hundred labelled prompts of one's own.

Promises: numpy only and the same rows give the same correction. Two things are learned: the level,
how right both models are on average, and the gain, how much more right the large one is. Each is a
share of what the shipped score says of it plus a ridge regression of what that leaves over. The
strength of the ridge and both shares are chosen by leaving each labelled row out; a share is whole
until the labels speak against it. Where they teach nothing, the shipped score is all that is left;
where they contradict it, it is given up. What comes out scores prompts as a `Scorer` does, and may
replace one while calls are served: 200 rows take some 0.02 s, 500 some 0.1 s.
Not covered: labels that are wrong or of another domain than the calls to come; the shipped weights
do not change, so that an adaptation can be dropped at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import BadRequest
from learning.platt import platt, threshold_for
from router.score.features import STEADY
from router.score.model import HEADS, Z_LIMIT, Judged, Score, Scorer, distances, sigmoid

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

MIN_ROWS = 20
# How far the share of the shipped score may lie from 1 before any label is seen (a standard
# deviation). 0.35 to 1 were measured: more is worse with 50 labels, less with 500.
SHARE_SPREAD = 0.5
# A label moves the slope of a model's curve only against the weight of this many: on strange
# ground 100 rows else make confident nonsense of it.
SLOPE_PRIOR = 20.0
# How much a standardised dimension of the embedding may say, beside 1 for a counted feature: there
# are 384 of them. 0.25 and 1 were measured too, and choosing among them by the left-out rows: each
# is better somewhere, none everywhere.
EMBEDDING_SHARE = 0.5
# What the small model has answered says more of its rightness than all that was asked.
ANSWER_SHARE = 8.0
# And its untrained doubt more than the shipped rank, which decides between equally doubtful ones.
RANK_BESIDE_DOUBT = 0.3
STRENGTHS = 10.0 ** np.arange(1.0, 6.6, 0.5)
TARGET_PGR = 0.75
# Probabilities stay clear of certainty by this much: some hundred rows cannot prove more. A level
# does so by more, for its logit is a curve's input.
CERTAINTY, LEVEL_CERTAINTY = 0.01, 0.02


class TooFewLabels(BadRequest):
    """Fewer labelled rows than an adaptation needs; the message has both counts."""


@dataclass(frozen=True, slots=True)
class LabelledPrompt:
    """N prompts with known outcome.

    embeddings (N, E) unit rows; surfaces (N, F); right (N, 2): how right (small, large) was, in
    [0, 1]; answers (N, A): what was measured of the small model's answers, at last how doubtful
    each is in [0, 1] (`router.judge.answer.doubt`); None before there are answers.
    """

    embeddings: Features
    surfaces: Features
    right: Floats
    answers: Features | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """How D = F + E (+ A) raw inputs are standardised and how loud each is; all (D,)."""

    centre: Floats
    scale: Floats
    share: Floats

    @classmethod
    def of(cls, raw: Floats, labelled: LabelledPrompt) -> Inputs:
        """By the spread of the raw (N, D) inputs of these rows."""
        spread = raw.std(axis=0)
        counted, embedded = labelled.surfaces.shape[1], labelled.embeddings.shape[1]
        share = np.full(raw.shape[1], ANSWER_SHARE)
        share[:counted], share[counted : counted + embedded] = 1.0, EMBEDDING_SHARE
        # An input that hardly varies here must not become loud where it varies for once.
        return cls(raw.mean(axis=0), np.where(spread > 1e-3, spread, 1.0), share)

    def __call__(self, raw: Floats) -> Floats:
        """(N, D) standardised and weighed."""
        standard = np.clip((raw - self.centre) / self.scale, -Z_LIMIT, Z_LIMIT)
        return np.asarray(standard * self.share)


@dataclass(frozen=True, slots=True)
class Ridge:
    """Ridge regression of anything on N rows of D inputs, from one eigendecomposition.

    centre (D,), centred (N, D); values (N,) and vectors (N, N) of the products of the rows.
    """

    centre: Floats
    centred: Floats
    values: Floats
    vectors: Floats

    @classmethod
    def of(cls, inputs: Floats) -> Ridge:
        """From inputs (N, D)."""
        centre = inputs.mean(axis=0)
        centred = inputs - centre
        values, vectors = np.linalg.eigh(centred @ centred.T)
        return cls(centre, centred, np.maximum(values, 0), vectors)

    def left_out(self, targets: Floats, strength: float) -> Floats:
        """(N, H) errors of (N, H) targets, each row predicted by a fit to the others; exact."""
        wanted = targets - targets.mean(axis=0)
        kept = self.values / (self.values + strength)
        lever = (self.vectors**2 * kept).sum(axis=1) + 1 / len(targets)
        fitted = self.vectors @ (kept[:, None] * (self.vectors.T @ wanted))
        return np.asarray((wanted - fitted) / (1 - lever)[:, None])

    def fitted(self, targets: Floats, strength: float) -> tuple[Floats, Floats]:
        """Weights (D, H) and offsets (H,) for (N, H) targets."""
        mean = targets.mean(axis=0)
        turned = self.vectors.T @ (targets - mean) / (self.values + strength)[:, None]
        linear = self.centred.T @ (self.vectors @ turned)
        return linear, mean - self.centre @ linear


@dataclass(frozen=True, slots=True)
class Correction:
    """What the labels teach of (level, gain), over D inputs.

    shares (2,): of what the shipped score says; linear (D, 2) and bias (2,): of what that leaves
    over; curves (2, 2): slope and offset per model on the logit of the level.
    """

    inputs: Inputs
    shares: Floats
    linear: Floats
    bias: Floats
    curves: Floats

    def learned(self, base: Floats, raw: Floats) -> Floats:
        """(N, 2) level and gain from what was `said` of them and the raw (N, D) inputs."""
        return np.asarray(self.shares * base + self.inputs(raw) @ self.linear + self.bias)


class Adapted:
    """A `Scorer` with a correction. Safe to share between threads: nothing changes after making.

    `version` names the shipped weights and how many rows were added; `threshold` is the cut-off
    that recovers the wanted share of the gap on the labelled rows, each predicted without itself.
    """

    def __init__(self, scorer: Scorer, correction: Correction, labelled: LabelledPrompt) -> None:
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
        """Judge N prompts; shapes as in `LabelledPrompt`, `answers` if and only if it had some."""
        shipped = self._scorer.judge(embeddings, surfaces)
        raw = _side_by_side(embeddings, surfaces, answers)
        learned = self._correction.learned(said(shipped, answers), raw)
        right = believed(learned, self._correction.curves)
        distance = distances(self._sample, embeddings).astype(np.float64)
        return Judged(np.clip(right, CERTAINTY, 1 - CERTAINTY), distance, _gain(right))

    def score(
        self, embedding: Features, surface: Features, answer: Features | None = None
    ) -> Score:
        """Score one prompt from (E,), (F,) and, after an answer, (A,)."""
        answers = None if answer is None else answer[None]
        return self.judge(embedding[None], surface[None], answers).score(0, self.version)


def fit(scorer: Scorer, labelled: LabelledPrompt, target_pgr: float = TARGET_PGR) -> Adapted:
    """The scorer corrected by these rows; raises `TooFewLabels` below `MIN_ROWS`."""
    right = labelled.right
    if len(right) < MIN_ROWS:
        raise TooFewLabels(f"{len(right)} labelled rows; at least {MIN_ROWS} are needed")
    raw = _side_by_side(labelled.embeddings, labelled.surfaces, labelled.answers)
    inputs = Inputs.of(raw, labelled)
    ridge = Ridge.of(inputs(raw))
    targets = np.stack([right.mean(axis=1), _gain(right)], axis=1)
    base = said(scorer.judge(labelled.embeddings, labelled.surfaces), labelled.answers)
    strength, shares, errors = chosen(ridge, targets, base)
    linear, bias = ridge.fitted(targets - shares * base, strength)
    left_out = targets - errors
    logits = _logit(left_out[:, 0])
    curves = np.stack([platt(logits, right[:, head], SLOPE_PRIOR) for head in range(HEADS)])
    adapted = Adapted(scorer, Correction(inputs, shares, linear, bias, curves), labelled)
    needs = np.clip(_gain(believed(left_out, curves)), 0, 1)
    adapted.threshold = threshold_for(needs, right[:, 0], right[:, 1], target_pgr)
    return adapted


def chosen(ridge: Ridge, targets: Floats, base: Floats) -> tuple[float, Floats, Floats]:
    """The best of `STRENGTHS`, the shares (H,) of `base` and left-out errors, both (N, H).

    One strength for all targets, by the sum of their errors, each relative to its variance: the
    gain alone is too noisy to choose by. A share is the mean of its posterior, from a normal
    prior around 1 and the left-out errors, and never negative.
    """
    variance = targets.var(axis=0) + 1e-9
    best = np.inf, float(STRENGTHS[-1]), np.ones(targets.shape[1]), targets
    for strength in STRENGTHS:
        wanted, given = ridge.left_out(targets, strength), ridge.left_out(base, strength)
        prior = (wanted**2).mean(axis=0) / SHARE_SPREAD**2 + 1e-12
        shares = ((wanted * given).sum(axis=0) + prior) / ((given**2).sum(axis=0) + prior)
        shares = np.maximum(shares, 0)
        errors = wanted - shares * given
        if (error := float(((errors**2).mean(axis=0) / variance).sum())) < best[0]:
            best = error, float(strength), shares, errors
    return best[1:]


def believed(learned: Floats, curves: Floats) -> Floats:
    """(N, 2) how right both models are held to be, not yet bounded, from (N, 2) level and gain.

    The mean of two views. One takes level and gain as they are. The other, item response theory
    with one scale, takes the level as the prompt's easiness and asks how each model does at it: the
    level is told by both models' labels and the gain by their difference, so it is the steadier
    guide. Either alone, and weighing them by left-out errors, were measured: the mean is better.
    """
    level, gain = learned.T
    plain = np.stack([level - gain / 2, level + gain / 2], axis=1)
    return np.asarray((plain + sigmoid(_logit(level)[:, None] * curves[:, 0] + curves[:, 1])) / 2)


def said(shipped: Judged, answers: Features | None) -> Floats:
    """(N, 2) the level and the gain before any label; the shipped rank stands for the gain.

    The doubt in an answer, the last column of `answers`, is taken off the small model's rightness.
    """
    base = np.stack([shipped.probability.mean(axis=1), shipped.rank], axis=1)
    if answers is None:
        return base
    doubted = answers[:, -1:] * np.array([-0.5, 1.0])
    return np.asarray(base * np.array([1.0, RANK_BESIDE_DOUBT]) + doubted)


def _side_by_side(embeddings: Features, surfaces: Features, answers: Features | None) -> Floats:
    steady = surfaces * STEADY
    blocks = [steady, embeddings] if answers is None else [steady, embeddings, answers]
    return np.hstack(blocks).astype(np.float64)


def _gain(right: Floats) -> Floats:
    """(N,) the rank where labels are known: no guess of how strange the ground is, is needed."""
    return np.asarray(right[:, 1] - right[:, 0])


def _logit(level: Floats) -> Floats:
    within = np.clip(level, LEVEL_CERTAINTY, 1 - LEVEL_CERTAINTY)
    return np.asarray(np.log(within / (1 - within)))
