"""`capacity.replica_capacity`: the closed form against its own fixed point, and as laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscale.capacity.replica_capacity import limits
from autoscale.policy.profile import EngineProfile, Slo


def profile(**changes: object) -> EngineProfile:
    return EngineProfile.model_validate(
        {
            "name": "p", "source": "test", "base_s": 0.01, "per_sequence_s": 1e-4,
            "per_kv_token_s": 1e-7, "prefill_tokens_per_s": 10_000, "chunk_tokens": 4096,
            "kv_tokens": 1_000_000, "max_sequences": 10_000,
        }
        | changes
    )  # fmt: skip


def test_at_the_tpot_limit_a_step_takes_the_slo():
    one, slo = profile(), Slo(tpot_s=0.05)
    rate = limits(one, slo, 500, 200).tpot
    step_s = slo.tpot_s
    sequences = rate * 200 * step_s
    chunk = rate * 500 * step_s
    made_s = one.base_s + one.per_sequence_s * sequences
    made_s += one.per_kv_token_s * sequences * 600 + chunk / one.prefill_tokens_per_s
    assert made_s == pytest.approx(step_s)


@pytest.mark.parametrize(
    ("changes", "binding"),
    [
        ({}, "TPOT SLO"),
        ({"kv_tokens": 2000}, "KV cache"),
        ({"max_sequences": 2}, "max sequences"),
        ({"chunk_tokens": 16}, "chunk tokens"),
    ],
)
def test_what_ends_first_is_named(changes: dict[str, object], binding: str):
    assert limits(profile(**changes), Slo(tpot_s=0.05), 500, 200).binding == binding


def test_a_step_longer_than_the_slo_carries_nothing():
    assert limits(profile(base_s=0.2), Slo(tpot_s=0.1), 500, 200).requests_per_s == 0


def test_requests_without_tokens_are_refused():
    with pytest.raises(ValueError, match="tokens"):
        limits(profile(), Slo(), 0, 200)


@given(st.floats(1, 1e5), st.floats(1, 1e4), st.floats(1, 10))
def test_longer_requests_are_never_more(inputs: float, outputs: float, longer: float):
    base = limits(profile(), Slo(), inputs, outputs).requests_per_s
    assert limits(profile(), Slo(), inputs * longer, outputs).requests_per_s <= base * (1 + 1e-9)
    assert limits(profile(), Slo(), inputs, outputs * longer).requests_per_s <= base * (1 + 1e-9)
