"""Promised cut-offs: the promise is kept as often as it is said to be, and dangers go to strong."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy.cutoffs import spread
from router.tuning.guarantee import (
    DELTA,
    LEAST_ROWS,
    OTHERS,
    Guarantee,
    Method,
    lower_bound,
    promise,
)
from router.tuning.guarantee import within as within_budget
from router.tuning.points import Rows, routed

POPULATION = 100_000
REPEATS = 400


def drawn(size: int, seed: int, *, domains: tuple[str, ...] = ()) -> Rows:
    """Rows like those of MMLU: 68 % and 80 % right, and a score that knows a little of the gap."""
    generator = np.random.default_rng(seed)
    hard = generator.beta(2, 4, size)
    p_weak = 1 - hard
    p_strong = np.clip(1 - hard + 0.35 * hard, 0, 1)
    score = np.clip(0.35 * hard + generator.normal(0, 0.08, size), 0, 1)
    return Rows(
        score=score,
        weak=(generator.random(size) < p_weak).astype(float),
        strong=(generator.random(size) < p_strong).astype(float),
        distance=generator.beta(5, 3, size),
        domain=generator.choice(domains, size) if domains else None,
    )


def sampled(rows: Rows, size: int, generator: np.random.Generator) -> Rows:
    """`size` rows as they come, so that the truth about all rows is known."""
    chosen = generator.integers(0, len(rows.score), size)
    return rows.only(chosen)


def kept(rows: Rows, made: Guarantee) -> float:
    """What the cut-offs keep of the strong model's quality on these rows."""
    sent = rows.score >= made.parts[0].threshold
    if made.distance_limit is not None and rows.distance is not None:
        sent |= rows.distance > made.distance_limit
    return float(np.where(sent, rows.strong, rows.weak).mean() / rows.strong.mean())


@pytest.mark.parametrize("target", [0.9, 0.95])
def test_at_1000_rows_the_promise_is_missed_in_8_percent_of_repeats_at_most(target: float):
    everyone, generator = drawn(POPULATION, 1), np.random.default_rng(2)
    missed, shares = [], []
    for _ in range(REPEATS):
        made = promise(sampled(everyone, 1000, generator), target)
        missed.append(kept(everyone, made) < target)
        shares.append(made.strong_share)
    assert np.mean(missed) <= 0.08
    assert np.mean(shares) < 0.95, "and it is no promise to send everything to strong"


@pytest.mark.parametrize("size", [LEAST_ROWS, 1000])
def test_losses_too_rare_to_be_among_the_rows_do_not_break_the_promise(size: int):
    """The plain normal approximation misses 42 % of these at 200 rows, and 13 % at 1,000."""
    generator = np.random.default_rng(4)
    score = generator.random(POPULATION)
    weak = (generator.random(POPULATION) > 0.04 * score).astype(float)
    everyone = Rows(score, weak, np.ones(POPULATION))
    made = [promise(sampled(everyone, size, generator), 0.995) for _ in range(200)]
    assert np.mean([kept(everyone, one) < 0.995 for one in made]) <= 0.08


def drawn_for_four(size: int, seed: int) -> Rows:
    """The same rows with the models of two tiers between, each better than the one before."""
    rows, generator = drawn(size, seed), np.random.default_rng(seed + 100)
    between = []
    for share in (1 / 3, 2 / 3):
        from_strong = generator.random(size) < share
        between.append(np.where(from_strong, rows.strong, rows.weak))
    return replace(rows, between=np.stack(between, axis=1))


@pytest.mark.parametrize("target", [0.9, 0.95])
def test_a_promise_for_four_tiers_is_kept_as_often_as_one_for_two(target: float):
    everyone, generator = drawn_for_four(POPULATION, 1), np.random.default_rng(2)
    missed, shares = [], []
    for _ in range(200):
        made = promise(sampled(everyone, 1000, generator), target)
        cut, limit = np.array([made.parts[0].threshold]), made.distance_limit
        assert everyone.distance is not None
        far = everyone.distance > limit
        quality = routed(everyone, far, cut)[0].mean() / everyone.strong.mean()
        missed.append(quality < target)
        shares.append(made.parts[0].shares)
    assert np.mean(missed) <= 0.08
    assert (np.mean(shares, axis=0) > 0.02).all(), "every tier has its part"
    assert made.tiers == 4


def test_a_tier_that_is_worse_than_both_ends_costs_the_promise_its_savings():
    """It stays kept: the test is of what all tiers together answer."""
    rows = replace(drawn(2000, 5), between=np.zeros((2000, 1)))
    made = promise(rows, 0.95)
    assert made.parts[0].quality >= 0.95 * made.strong_quality
    assert made.strong_share > promise(drawn(2000, 5), 0.95).strong_share


def test_a_budget_counts_what_each_of_four_tiers_costs():
    rows = drawn_for_four(2000, 3)
    made = within_budget(rows, 2.0, 0.1, 4.0, (0.5, 1.5))
    assert made.cost is not None
    assert made.cost <= 2.0
    assert made.cost == pytest.approx(np.dot(made.parts[0].shares, (0.1, 0.5, 1.5, 4.0)))
    with pytest.raises(ValueError, match="2 costs between"):
        within_budget(rows, 2.0, 0.1, 4.0, (0.5,))


def test_what_goes_to_strong_is_what_reaches_the_last_cut_off():
    made = promise(drawn_for_four(2000, 3), 0.95)
    last = spread(made.parts[0].threshold, 4)[-1]
    assert made.to_strong(last)
    assert not made.to_strong(np.nextafter(last, 0))


def test_the_careful_bound_is_missed_less_and_costs_more():
    everyone, generator = drawn(POPULATION, 1), np.random.default_rng(3)
    missed = 0
    for _ in range(50):
        rows = sampled(everyone, 1000, generator)
        quick = promise(rows, 0.95)
        careful = promise(rows, 0.95, method=Method.BERNSTEIN)
        assert careful.strong_share >= quick.strong_share
        missed += kept(everyone, careful) < 0.95
    assert missed == 0


def test_more_rows_need_fewer_strong_calls():
    shares = [promise(drawn(size, 5), 0.95).strong_share for size in (300, 3000, 30_000)]
    assert shares == sorted(shares, reverse=True)


@given(st.floats(0.5, 1.0), st.integers(0, 50))
def test_what_is_promised_holds_on_the_calibration_rows_themselves(target: float, seed: int):
    rows = drawn(LEAST_ROWS, seed)
    made = promise(rows, target)
    assert made.quality >= target * rows.strong.mean() - 1e-9
    assert made.promised == pytest.approx(target * rows.strong.mean())


def test_a_higher_target_never_needs_fewer_strong_calls():
    rows = drawn(2000, 7)
    shares = [promise(rows, target).strong_share for target in (0.8, 0.9, 0.95, 0.99)]
    assert shares == sorted(shares)


def test_where_nothing_can_be_vouched_for_all_calls_go_to_strong():
    rows = drawn(400, 8)
    useless = Rows(rows.score, np.zeros(400), np.ones(400))
    made = promise(useless, 0.999)
    assert made.strong_share == 1.0
    assert made.to_strong(0.0)


def test_calls_far_from_the_calibration_rows_go_to_strong():
    made = promise(drawn(1000, 9), 0.9)
    assert made.distance_limit is not None
    assert not made.to_strong(0.0, made.distance_limit)
    assert made.to_strong(0.0, made.distance_limit + 1e-6)
    assert any("must go to strong" in condition for condition in made.conditions)


def test_without_distances_it_says_that_strange_calls_are_not_told_apart():
    rows = drawn(1000, 9)
    made = promise(Rows(rows.score, rows.weak, rows.strong), 0.9)
    assert made.distance_limit is None
    assert any("not told apart" in condition for condition in made.conditions)


def test_each_large_domain_has_a_cut_off_of_its_own_and_small_ones_share_one():
    rows = drawn(1000, 10)
    domain = np.array(["law"] * 450 + ["maths"] * 300 + ["art", "music"] * 125)
    made = promise(Rows(rows.score, rows.weak, rows.strong, rows.distance, domain), 0.9)
    assert [part.name for part in made.parts] == ["law", "maths", OTHERS]
    assert made.parts[-1].covers == ("art", "music")
    assert sum(part.rows for part in made.parts) == 1000
    assert any("share one cut-off" in condition for condition in made.conditions)


def test_a_pool_that_is_too_small_takes_the_cut_off_of_all_rows():
    rows = drawn(1000, 11)
    domain = np.array(["law"] * 980 + ["art"] * 20)
    made = promise(Rows(rows.score, rows.weak, rows.strong, rows.distance, domain), 0.9)
    whole = promise(Rows(rows.score, rows.weak, rows.strong, rows.distance), 0.9)
    assert made.parts[-1].threshold == whole.parts[0].threshold


def test_a_domain_that_was_never_seen_goes_to_strong():
    made = promise(drawn(1000, 12, domains=("a", "b")), 0.9)
    assert made.to_strong(0.0, 0.0, "chess")
    assert not made.to_strong(0.0, 0.0, "a")


def test_too_few_rows_for_the_normal_approximation_are_refused():
    with pytest.raises(ValueError, match=f"{LEAST_ROWS} are the least"):
        promise(drawn(LEAST_ROWS - 1, 13), 0.9)
    assert promise(drawn(LEAST_ROWS - 1, 13), 0.9, method=Method.BERNSTEIN).parts


@pytest.mark.parametrize(("target", "delta"), [(0.0, DELTA), (1.1, DELTA), (0.9, 0.0), (0.9, 0.5)])
def test_a_promise_that_makes_no_sense_is_refused(target: float, delta: float):
    with pytest.raises(ValueError, match="must be in"):
        promise(drawn(300, 14), target, delta=delta)


@given(st.floats(0.02, 1.0), st.integers(0, 30))
def test_a_budget_is_never_overdrawn_on_its_rows(budget: float, seed: int):
    made = within_budget(drawn(300, seed), budget)
    assert made.cost is not None
    assert made.cost <= budget
    assert made.cost == pytest.approx(made.strong_share)
    assert made.promised is None


def test_a_budget_in_money_counts_what_either_model_costs():
    rows = drawn(1000, 15)
    made = within_budget(rows, 3.0, 1.0, np.full(1000, 11.0))
    assert made.cost == pytest.approx(1.0 + 10.0 * made.strong_share)
    assert made.cost <= 3.0
    with pytest.raises(ValueError, match="below the least possible"):
        within_budget(rows, 0.5, 1.0, 11.0)


def test_a_larger_budget_is_never_worse():
    rows = drawn(1000, 16)
    qualities = [within_budget(rows, budget).quality for budget in (0.1, 0.3, 0.6, 1.0)]
    assert qualities == sorted(qualities)


def test_both_bounds_are_below_the_mean_and_the_careful_one_is_lower():
    values = np.random.default_rng(0).random((3, 500))
    quick, careful = (lower_bound(values, DELTA, method, 0.0) for method in Method)
    assert (careful < quick).all()
    assert (quick < values.mean(axis=1)).all()
