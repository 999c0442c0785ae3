"""Replaying strategies on answers that were given: costs, cut-offs, waiting and what is saved."""

import numpy as np
import pytest

from bench.replay import MEASURES, AnsweredRow, Cut, Way, alone, compared, measured, report

ROWS = 400
INF = float("inf")


def answered(small_right: np.ndarray, large_right: np.ndarray) -> AnsweredRow:
    def tiled(*pair: float) -> np.ndarray:
        return np.tile(pair, (ROWS, 1))

    right = np.stack([small_right, large_right], axis=1)
    predict_s = np.full(ROWS, 0.01)
    return AnsweredRow(right, tiled(1.0, 10.0), tiled(2.0, 5.0), predict_s, 1 - small_right)


@pytest.fixture
def rows() -> AnsweredRow:
    return answered((np.arange(ROWS) % 2).astype(float), np.ones(ROWS))


def once(way: Way, rows: AnsweredRow, target: float | None) -> dict[str, float]:
    return measured(way, rows, target, np.random.default_rng(0))


def test_an_oracle_saves_all_that_small_gets_right_and_a_paid_one_a_little_less(
    rows: AnsweredRow,
) -> None:
    oracle = 1 - rows.right[:, 0]
    free, paid = (once(Way(oracle, paid), rows, 0.99) for paid in (False, True))
    assert free["saved"] == pytest.approx(1 - 5.5 / 10, abs=0.02)
    assert paid["saved"] == pytest.approx(1 - 6.0 / 10, abs=0.02)
    assert free["quality"] > 0.97


def test_a_ranking_that_knows_nothing_saves_only_what_the_target_leaves_open(
    rows: AnsweredRow,
) -> None:
    chance = Way(np.random.default_rng(1).uniform(size=ROWS), paid=False)
    got = once(chance, rows, 0.95)
    assert got["saved"] < 0.2
    assert got["quality"] == pytest.approx(0.95, abs=0.04)


def test_where_small_is_as_good_everything_goes_down() -> None:
    both = answered(np.ones(ROWS), np.ones(ROWS))
    got = once(Way(np.zeros(ROWS), paid=False), both, 0.99)
    assert (got["saved"], got["quality"]) == (pytest.approx(0.9), 1.0)
    assert (got["mean_s"], got["p95_s"]) == (2.0, 2.0)


def test_who_asks_small_first_waits_for_both_and_who_scores_waits_for_the_score(
    rows: AnsweredRow,
) -> None:
    rank = np.zeros(ROWS)
    for paid, predicts, up, down in (
        (False, False, 5.0, 2.0),
        (False, True, 5.01, 2.01),
        (True, False, 7.0, 2.0),
        (True, True, 7.01, 2.01),
    ):
        way = Way(rank, paid, predicts)
        assert way.outcome(rows, Cut(-INF)).seconds == pytest.approx(np.full(ROWS, up))
        assert way.outcome(rows, Cut(INF)).seconds == pytest.approx(np.full(ROWS, down))


def test_what_the_score_sends_straight_to_large_neither_pays_nor_waits_for_small(
    rows: AnsweredRow,
) -> None:
    ahead = np.arange(ROWS, dtype=float)
    way = Way(np.zeros(ROWS), paid=True, predicts=True, ahead=ahead)
    got = way.outcome(rows, Cut(INF, ahead=ROWS / 2))
    assert got.cost_usd.tolist() == [1.0] * (ROWS // 2) + [10.0] * (ROWS // 2)
    assert got.seconds[-1] == pytest.approx(5.01)
    assert got.right[ROWS // 2 :].all()


def test_a_score_ahead_is_used_where_it_saves(rows: AnsweredRow) -> None:
    need = 1 - rows.right[:, 0]
    alone_, ahead = (once(Way(rows.doubt, True, True, score), rows, 0.99) for score in (None, need))
    assert ahead["saved"] > alone_["saved"]
    assert ahead["mean_s"] < alone_["mean_s"]


@pytest.mark.parametrize("paid", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_cheapest_cut_is_the_cheapest_of_all(paid: bool, seed: int) -> None:
    draw = np.random.default_rng(seed)
    size, target = 40, 0.9
    right = (draw.uniform(size=(size, 2)) < [0.3, 0.6]).astype(float)
    cost = draw.uniform(size=(size, 2)) * [1, 8]
    some = AnsweredRow(right, cost, np.ones((size, 2)), np.zeros(size), np.zeros(size))
    way = Way(np.round(draw.uniform(size=size), 1), paid)
    cuts = [Cut(float(rank)) for rank in (-INF, *np.unique(way.rank), INF)]
    tried = [way.outcome(some, cut) for cut in cuts]
    able = [
        float(got.cost_usd.mean())
        for got in tried
        if got.right.mean() >= target * right[:, 1].mean() - 1e-9
    ]
    chosen = way.outcome(some, way.cheapest(some, target))
    assert chosen.cost_usd.mean() == pytest.approx(min(able))


def test_half_sends_every_other_prompt_up(rows: AnsweredRow) -> None:
    got = once(Way(np.random.default_rng(1).uniform(size=ROWS), paid=False), rows, None)
    assert got["mean_s"] == pytest.approx(3.5, abs=0.2)
    assert (got["p50_s"] in (2.0, 5.0), got["p95_s"]) == (True, 5.0)


def test_every_strategy_is_told_with_its_intervals(rows: AnsweredRow) -> None:
    need = 1 - rows.right[:, 0] * 0.5
    ways = {"learned": compared(rows, need, need, need)["learned"]}
    (line,) = report(rows, ways)
    assert line["strategy"] == "learned"
    for at in ("0.95", "0.99", "half"):
        for what in MEASURES:
            middle, low, high = line[f"{what}_at_{at}"]  # type: ignore[misc]
            assert low <= middle <= high


def test_seconds_are_told_as_mean_median_and_95th_percentile() -> None:
    mean, middle, late = alone(np.arange(1.0, 101.0))
    assert (mean[0], middle[0], late[0]) == (50.5, 50.5, pytest.approx(95.05))
    assert mean[1] < 50.5 < mean[2]
