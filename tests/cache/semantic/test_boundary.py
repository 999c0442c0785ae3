"""The boundary of an entry: the error stays within the user's bound, and serving is learned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.semantic.boundary import KEPT, LEAST, Boundary, exploration, explores


def live(place: float, slope: float, delta: float, seed: int, prompts: int) -> tuple[float, float]:
    """(share of prompts wrongly served, share served) for one entry with a true sigmoid."""
    draws = np.random.default_rng(seed)
    state, wrong, served = Boundary(), 0, 0
    for _ in range(prompts):
        cosine = float(draws.uniform(0.6, 1.0))
        same = bool(draws.random() < 1 / (1 + np.exp(-slope * (cosine - place))))
        if explores(state, cosine, delta, float(draws.random())):
            state = state.seen(cosine, same)
        else:
            served += 1
            wrong += not same
    return wrong / prompts, served / prompts


@pytest.mark.parametrize("delta", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("place", [0.7, 0.85, 0.95, 1.1])
def test_wrong_answers_stay_within_the_bound(delta: float, place: float):
    errors = [live(place, 40, delta, seed, 400)[0] for seed in range(6)]
    assert np.mean(errors) <= delta


def test_an_entry_that_is_always_right_comes_to_serve():
    assert live(0.3, 40, 0.05, 0, 600)[1] > 0.3


def test_an_entry_that_is_never_right_hardly_serves():
    assert live(1.5, 40, 0.05, 0, 400)[1] < 0.02


def test_without_outcomes_it_explores():
    assert exploration(Boundary(), 1.0, 0.1) == 1.0
    few = Boundary(((0.9, True),) * (LEAST - 1))
    assert exploration(few, 0.99, 0.1) == 1.0


def test_old_outcomes_are_forgotten():
    state = Boundary()
    for _ in range(KEPT + 10):
        state = state.seen(0.9, True)
    assert len(state.outcomes) == KEPT


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30),
    st.floats(0, 1),
    st.floats(0.001, 0.5),
)
def test_exploration_is_a_share_and_falls_with_the_bound(
    outcomes: list[tuple[float, bool]], cosine: float, delta: float
):
    state = Boundary(tuple(outcomes))
    strict, loose = (exploration(state, cosine, bound) for bound in (delta, min(2 * delta, 0.9)))
    assert 0 <= loose <= strict <= 1


def test_a_bound_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="delta"):
        exploration(Boundary(), 0.9, 0.0)
