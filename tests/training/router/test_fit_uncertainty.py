"""Learning what tokens tell of an answer: signs, weights of rows, and what a fit may have seen."""

import numpy as np
import pytest

from learning.measures import auroc
from router.judge.uncertainty import NAMES
from training.router.fit_uncertainty import (
    LEARNABLE,
    calibration,
    compare,
    constants,
    evidence,
    held_out,
    joined,
    joint,
    level,
    nonnegative,
    rankings,
    within,
)
from training.router.graded import GradedRows


def rows(size: int = 240) -> GradedRows:
    """Wrong answers have the less probable tokens; second answers agree mostly with right ones."""
    draw = np.random.default_rng(0)
    wrong = (draw.uniform(size=size) < 0.6).astype(float)
    surprise = draw.gamma(1.0 + 2.0 * wrong[:, None], 0.3, size=(size, 12))
    agrees = np.where(draw.uniform(size=size) < 0.2 + 0.6 * wrong, -1.0, 1.0)
    agrees[::2] = 0.0
    return GradedRows(
        tuple(tuple(float(-one) for one in each) for each in surprise),
        draw.normal(size=size),
        agrees,
        wrong,
        np.array(["sum short", "story worked", "day short"])[np.arange(size) % 3],
        np.array(["small", "large"])[np.arange(size) // 3 % 2],
    )


def test_a_column_that_lowers_the_risk_gets_no_weight_and_one_that_raises_it_does():
    draw = np.random.default_rng(1)
    wrong = (draw.uniform(size=500) < 0.5).astype(float)
    values = np.stack([wrong + draw.normal(size=500), -wrong + draw.normal(size=500)], axis=1)
    fitted = nonnegative(values, wrong, np.full(500, 1 / 500))
    assert fitted.weights[0] > 0.2
    assert fitted.weights[1] == 0.0
    assert auroc(fitted.evidence(values), wrong) > 0.7


def test_a_fit_is_calibrated_on_what_it_saw():
    draw = np.random.default_rng(2)
    values = draw.normal(size=(4000, 1))
    chance = 1 / (1 + np.exp(-(1.5 * values[:, 0] - 0.5)))
    wrong = (draw.uniform(size=4000) < chance).astype(float)
    fitted = nonnegative(values, wrong, np.full(4000, 1 / 4000), shrinkage=1e-4)
    assert fitted.weights[0] == pytest.approx(1.5, abs=0.2)
    assert fitted.offset == pytest.approx(-0.5, abs=0.1)


def test_a_level_is_the_log_odds_of_what_no_score_tells_apart():
    wrong = np.array([1.0, 1.0, 1.0, 0.0])
    assert level(np.zeros(4), wrong, np.full(4, 0.25)) == pytest.approx(np.log(3), abs=1e-3)
    assert level(np.full(4, 2.0), wrong, np.full(4, 0.25)) == pytest.approx(np.log(3) - 2, abs=1e-3)


def test_every_model_counts_as_right_as_often_as_wrong():
    known = rows()
    weight = known.weight(np.ones(len(known.wrong), dtype=bool))
    for tier in ("small", "large"):
        these = known.tier == tier
        assert weight[these].sum() == pytest.approx(0.5)
        assert (weight * known.wrong)[these].sum() == pytest.approx(0.25)


def test_a_kind_is_judged_by_a_fit_that_did_not_see_it():
    known = rows()
    values = known.features()[:, :3]
    before = held_out(known, values)
    these = known.kind == "day short"
    turned = GradedRows(
        known.logprobs, known.text, known.agrees,
        np.where(these, 1 - known.wrong, known.wrong), known.kind, known.tier,
    )  # fmt: skip
    after = held_out(turned, values)
    assert after[these] == pytest.approx(before[these])
    assert not np.allclose(after[~these], before[~these])


def test_a_model_may_be_judged_by_a_fit_that_did_not_see_its_answers():
    known = rows()
    values = known.features()[:, :3]
    these = known.tier == "large"
    turned = GradedRows(
        known.logprobs, known.text, known.agrees,
        np.where(these, 1 - known.wrong, known.wrong), known.kind, known.tier,
    )  # fmt: skip
    one, other = (held_out(each, values, other_model=True)[these] for each in (known, turned))
    assert other == pytest.approx(one)


def test_pairs_of_different_kinds_do_not_count():
    score, wrong = np.array([0.1, 0.2, 5.1, 5.2]), np.array([0.0, 1.0, 0.0, 1.0])
    group = np.array([0, 0, 1, 1])
    assert auroc(score, wrong) == 0.75
    assert within(score, wrong, group) == 1.0
    assert np.isnan(within(score, np.ones(4), group))


def test_what_is_not_at_hand_adds_nothing_and_disagreement_never_lowers():
    known = rows()
    columns = evidence(known, np.array([sum(each) for each in known.logprobs]) * -1)
    assert not columns[known.agrees == 0][:, 2:].any()
    fitted = joint(columns, known.wrong, known.weight(np.ones(len(known.wrong), dtype=bool)))
    assert (fitted.weights >= 0).all()
    assert (fitted.weights[1:] > 0).all()


def test_nothing_learnable_grows_with_length_alone():
    known = rows(6)
    long = GradedRows(
        tuple(each * 50 for each in known.logprobs),
        known.text, known.agrees, known.wrong, known.kind, known.tier,
    )  # fmt: skip
    picked = [NAMES.index(name) for name in LEARNABLE if not name.startswith("final")]
    one, other = (each.features()[:, picked] for each in (known, long))
    # A finer quantile of more tokens may move within the gap to the next one.
    assert np.abs(other - one).max() < 0.8


def test_tables_and_constants_are_told_for_every_ranking():
    known = rows()
    found = rankings(known) | joined(known)
    table = compare(known, found, "all")
    assert table.row_count == len(found)
    assert len(table.columns) == 5
    assert "offset" in constants(known)


def test_calibration_is_told_at_each_models_own_odds():
    known = rows()
    exact = np.where(known.wrong > 0, 1 - 1e-9, 1e-9)
    assert calibration(known, exact) == "large 0.000, small 0.000"
    assert calibration(known, 1 - exact) != calibration(known, exact)
