"""What the comparison of an engine with its replay is made of; the engine is in test_real_small."""

import math

import numpy as np
import pytest

from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.trace import Trace
from bench.replay_truth import TruthFigures, TruthPair, arrivals, replayed, steady

PROFILE = EngineProfile(
    name="p", source="made up", base_s=0.01, per_sequence_s=0.001, per_kv_token_s=0.0,
    prefill_tokens_per_s=1000, chunk_tokens=512, kv_tokens=10_000, overhead_s=0.5,
)  # fmt: skip


def test_arrivals_begin_at_zero_and_come_at_the_rate():
    trace = arrivals(4000, 2.0, 0)
    assert trace.at_s[0] == 0 and trace.span_s == pytest.approx(2000, rel=0.1)
    assert trace.input_tokens.min() >= 40 and trace.input_tokens.max() <= 700
    assert not arrivals(10, math.inf, 0).at_s.any()


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"base_s": 0.0105}, True),
        ({"base_s": 0.02}, False),
        ({"base_s": 0.005}, False),
        ({"prefill_tokens_per_s": 500}, False),
    ],
)
def test_an_engine_is_steady_while_its_steps_take_as_long(changed: dict[str, float], same: bool):
    assert steady(PROFILE, PROFILE.model_copy(update=changed)) is same


def test_a_request_alone_is_replayed_as_the_profile_says():
    one = Trace("one", np.array([0.0]), np.array([100]), np.array([11]))
    found = replayed(one, PROFILE, Slo())
    first_s = 0.5 + 0.011 + 0.1
    assert found.ttft_s_p50 == found.ttft_s_p95 == pytest.approx(first_s)
    assert found.output_tokens_per_s == pytest.approx(11 / (first_s + 10 * 0.011))


def test_ratios_are_replayed_by_measured():
    ratios = TruthPair("any", TruthFigures(1.0, 2.0, 10.0), TruthFigures(2.0, 2.0, 5.0)).ratios()
    assert ratios == {"ttft_s_p50": 2.0, "ttft_s_p95": 1.0, "output_tokens_per_s": 0.5}
