"""Token uncertainty: quantiles, never sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.judge.uncertainty import MAX_SURPRISE, NAMES, WEIGHTS, doubt, features, perplexity

logprobs = st.lists(st.floats(max_value=0.0) | st.just(math.nan), max_size=60)
ordinary = st.lists(st.floats(-15.0, 0.0), min_size=1, max_size=60)


def of(values: list[float]) -> dict[str, float]:
    return dict(zip(NAMES, features(values).tolist(), strict=True))


@given(logprobs)
def test_any_logprobs_give_one_finite_value_per_name_and_a_doubt(values: list[float]):
    found = features(values)
    assert found.shape == (len(NAMES),)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert 0.0 <= doubt(values) <= 1.0


def test_names_are_distinct():
    assert len(set(NAMES)) == len(NAMES)


@given(ordinary, st.floats(0.0, 5.0))
def test_doubt_never_falls_when_every_token_surprises_more(values: list[float], more: float):
    assert doubt([each - more for each in values]) >= doubt(values) - 1e-6


@given(ordinary, st.integers(2, 6))
def test_a_repeated_answer_is_hardly_more_doubtful_than_one(values: list[float], times: int):
    values = values * 20  # so that the last tokens and the worst share do not depend on one end
    assert doubt(values * times) == pytest.approx(doubt(values), abs=0.1)


def test_an_answer_of_certain_tokens_is_not_doubted_for_its_length():
    assert doubt([-0.01] * 2000) == pytest.approx(doubt([-0.01] * 20))


def test_no_tokens_are_neither_sure_nor_unsure():
    assert doubt([]) == 0.5
    assert not features([]).any()


def test_the_impossible_counts_as_the_cap():
    assert of([-math.inf, math.nan, -9999.0])["surprise_q50"] == MAX_SURPRISE


def test_features_say_what_they_are_named():
    found = of([math.log(0.8), math.log(0.4), *[math.log(0.95)] * 7, math.log(0.05)])
    assert found["share_below_p90"] == pytest.approx(0.3)
    assert found["share_below_p50"] == pytest.approx(0.2)
    assert found["share_below_p10"] == pytest.approx(0.1)
    assert found["first"] == pytest.approx(-math.log(0.8))
    assert found["final_max"] == pytest.approx(-math.log(0.05))
    assert found["worst_1_mean"] == found["final_max"] == found["worst_share_mean"]
    assert found["surprise_q50"] == pytest.approx(-math.log(0.95), abs=1e-6)
    assert found["tokens"] == pytest.approx(math.log(11))


def test_perplexity_is_that_of_a_fair_choice():
    assert perplexity([None, *[math.log(0.25)] * 9]) == pytest.approx(4.0)


@given(ordinary)
def test_perplexity_is_at_least_one(values: list[float]):
    assert perplexity(values) >= 1.0


@pytest.mark.parametrize("values", [[], [None]])
def test_perplexity_of_nothing_is_refused(values: list[float | None]):
    with pytest.raises(ValueError, match="at least one"):
        perplexity(values)


def test_no_weight_is_negative_and_none_is_of_length():
    assert set(WEIGHTS) <= set(NAMES) - {"tokens"}
    assert min(WEIGHTS.values()) > 0


def test_tokens_of_probability_less_than_a_half_speak_against_an_answer():
    assert doubt([math.log(0.6)] * 40) < 0.5 < doubt([math.log(0.4)] * 40)


@given(ordinary, st.integers(1, 60))
def test_a_prefix_has_a_doubt_of_its_own(values: list[float], count: int):
    assert 0.0 <= doubt(values[:count]) <= 1.0
    assert doubt([-0.01] * count) < doubt([-2.0] * count)
