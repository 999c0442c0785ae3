"""What requests cost, held to what a step takes."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscale.policy.forecast import Decayed
from autoscale.policy.work import Costs
from core.settings.scaling import Slo
from tests.autoscale.policy.scaled import PROFILE

lengths = st.floats(1, 100_000)


def costs(input_tokens: float, output_tokens: float, slo: Slo | None = None) -> Costs:
    many = 1e9
    return Costs.of(
        Decayed(input_tokens * many, many), Decayed(output_tokens * many, many),
        slo or Slo(), PROFILE,
    )  # fmt: skip


@pytest.mark.parametrize("each", [(1000, 200), (200, 50), (20_000, 100)])
def test_at_full_work_a_step_takes_what_the_tightest_bound_allows(each):
    input_tokens, output_tokens = each
    rate = 1 / costs(*each).work(input_tokens, 1)
    context = input_tokens + output_tokens / 2
    step_s = 0.0
    for _ in range(10_000):
        step_s = PROFILE.step_s(0, 0) + rate * step_s * (
            input_tokens / PROFILE.prefill_tokens_per_s
            + output_tokens * (PROFILE.per_sequence_s + PROFILE.per_kv_token_s * context)
        )
    sequences = rate * output_tokens * step_s
    shares = (
        step_s / 0.08,
        sequences * context / (0.8 * PROFILE.kv_tokens),
        (rate * input_tokens * step_s + sequences) / PROFILE.chunk_tokens,
    )
    assert max(shares) == pytest.approx(1.0, rel=1e-3)


@given(lengths, lengths, st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0, 1e5), st.floats(0, 1e4))
def test_more_never_costs_less(input_tokens, output_tokens, tokens, calls, more, others):
    one = costs(input_tokens, output_tokens)
    assert one.work(tokens + more, calls + others) >= one.work(tokens, calls)
    held = one.held_work(tokens, calls)
    assert one.held_work(tokens + more, calls + others) >= held * (1 - 1e-12)


def test_what_is_held_costs_by_its_own_length():
    assert costs(1000, 200).held_work(10_000, 10) == pytest.approx(
        costs(1000, 200).work(10_000, 10)
    )
    assert costs(50, 200).held_work(10_000, 10) == costs(9_000, 200).held_work(10_000, 10)
    assert costs(50, 200).held_work(10_000, 0) == costs(50, 200).work(10_000, 0)


def test_an_slo_that_no_step_meets_still_has_a_cost():
    assert costs(100, 10, Slo(tpot_s=1e-6)).work(100, 1) > costs(100, 10).work(100, 1)


def test_without_calls_the_prior_lengths_are_taken():
    unknown = Costs.of(Decayed(), Decayed(), Slo(), PROFILE)
    assert (unknown.output_tokens, unknown.context_tokens) == (200.0, 600.0)
