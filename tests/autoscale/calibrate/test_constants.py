"""A fit finds the constants that its samples were made with."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.calibrate.constants import FASTEST_TOKENS_PER_S, TimingSample, fit

CHUNK = 512


def samples(
    base_s: float, per_sequence_s: float, per_kv_token_s: float, rate: float, overhead_s: float
) -> list[TimingSample]:
    made = []
    for tokens, many in ((64, 1), (512, 1), (1024, 1), (2048, 1), (64, 2), (64, 4), (64, 8)):
        kv = many * (tokens + 24.0)
        steps_s = math.ceil(tokens / CHUNK) * (base_s + per_sequence_s)
        ttft_s = overhead_s + steps_s + tokens / rate
        tpot_s = base_s + per_sequence_s * many + per_kv_token_s * kv
        made.append(TimingSample(tokens, many, kv, ttft_s, tpot_s))
    return made


@settings(deadline=None)
@given(
    base_s=st.floats(0.002, 0.1),
    per_sequence_s=st.floats(0, 0.01),
    per_kv_token_s=st.floats(0, 1e-5),
    rate=st.floats(50, 20_000),
    overhead_s=st.floats(0, 0.2),
)
def test_constants_are_found_again(
    base_s: float, per_sequence_s: float, per_kv_token_s: float, rate: float, overhead_s: float
):
    found = fit(samples(base_s, per_sequence_s, per_kv_token_s, rate, overhead_s), CHUNK)
    assert found.base_s == pytest.approx(base_s, rel=1e-3)
    assert found.per_sequence_s == pytest.approx(per_sequence_s, rel=1e-3, abs=1e-6)
    assert found.per_kv_token_s == pytest.approx(per_kv_token_s, rel=1e-3, abs=1e-9)
    assert found.prefill_tokens_per_s == pytest.approx(rate, rel=1e-2)
    assert found.overhead_s == pytest.approx(overhead_s, abs=1e-5)
    assert max(found.tpot_error, found.ttft_error) < 1e-6


def test_no_constant_is_below_zero():
    """TPOT falls with more sequences and TTFT with longer prompts, as noise can make it."""
    found = fit([TimingSample(10, 1, 20, 0.2, 0.02), TimingSample(90, 1, 100, 0.1, 0.02),
                 TimingSample(10, 4, 80, 0.1, 0.01)], CHUNK)  # fmt: skip
    assert found.per_sequence_s == found.per_kv_token_s == 0
    assert 0.01 <= found.base_s <= 0.02
    assert found.prefill_tokens_per_s == FASTEST_TOKENS_PER_S


def test_one_prompt_length_is_not_enough():
    with pytest.raises(ValueError, match="two prompt lengths"):
        fit([TimingSample(10, 1, 20, 0.2, 0.02)] * 3, CHUNK)
