"""What the policy remembers: bounded, and the same after JSON."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscale.policy.memory import MOST_HIGHS, Highs, PolicyMemory, dump, load

times = st.lists(st.floats(0, 5_000), min_size=1, max_size=60).map(sorted)


@given(times, st.data())
def test_the_high_of_a_window_is_never_missed_and_outlives_it_by_a_grain_at_most(at, data):
    values = [data.draw(st.floats(0, 10)) for _ in at]
    highs = Highs()
    for at_s, value in zip(at, values, strict=True):
        highs = highs.after(value, at_s, 600.0)
    now_s, since_s = at[-1], at[-1] - 300.0
    within = max(v for a, v in zip(at, values, strict=True) if a >= since_s)
    wider = max(v for a, v in zip(at, values, strict=True) if a >= since_s - 30.0)
    assert within <= highs.since(since_s) <= wider
    assert len(highs.kept) <= MOST_HIGHS
    assert all(at_s >= now_s - 600.0 for at_s, _ in highs.kept)


@pytest.mark.parametrize("broken", [None, {}, {"version": 0}, {"version": 1, "work": "x"}, []])
def test_what_cannot_be_read_is_a_new_memory(broken):
    assert load(broken) == PolicyMemory.new()


def test_another_version_is_a_new_memory():
    assert load({**dump(PolicyMemory(now_s=5.0)), "version": 99}) == PolicyMemory.new()


def test_a_memory_survives_json():
    memory = PolicyMemory(now_s=0.1, known=("a", "b"), starts=(1 / 3,), highs=Highs(((30.0, 0.7),)))
    assert load(json.loads(json.dumps(dump(memory)))) == memory


def test_the_lead_is_the_prior_until_three_started():
    assert PolicyMemory.new().lead_s(120.0) == 120.0
    assert PolicyMemory(starts=(10.0, 20.0)).lead_s(120.0) == 120.0
    assert PolicyMemory(starts=(10.0, 20.0, 30.0)).lead_s(120.0) == 30.0
