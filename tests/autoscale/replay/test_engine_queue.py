"""The order of an engine's queue: late ones last, overdue ones first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.policy.profile import Slo
from autoscale.replay.engine_queue import enqueue, next_up, take, turn_s
from autoscale.replay.engine_routing import ONGOING, PREFIX
from autoscale.replay.engine_state import Constants, new_requests, new_slots
from core.settings.scaling import LATE_SHARE, OVERDUE_S
from tests.autoscale.replay.engine_by_steps import serve
from tests.autoscale.replay.engines import PROFILE, Engine, served

SLO = Slo(ttft_s=0.3337141)
OVERDUE_SOON_S = 1.0271828
STEP_S = PROFILE.step_s(1, 0, 32)
"""A prompt of one whole chunk, alone in its step."""

REQUESTS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(1, 150), st.integers(1, 60)), min_size=1, max_size=40
)


def test_constants_say_when_a_request_is_late():
    slo = Slo(ttft_s=3.0, ttft_factor=2.0)
    k = Constants.of(PROFILE, slo)
    for tokens in (1, 500):
        late_s = k.late_s + k.late_per_token_s * tokens
        assert late_s == pytest.approx(slo.late_after_s(tokens, PROFILE.prefill_tokens_per_s))
    assert k.overdue_s == OVERDUE_S
    plain = Constants.of(PROFILE)
    assert plain.late_s == plain.overdue_s == float("inf") and plain.late_per_token_s == 0


def test_one_after_the_other_leaves_the_queue_as_the_clock_goes():
    """Late after 2.4 s, overdue after 60: three that came at 0, 1 and 2 s."""
    k = Constants.of(PROFILE, Slo(ttft_s=3.0))
    q = new_requests(np.array([0.0, 1.0, 2.0]), np.array([9] * 3), np.array([9] * 3))
    one = new_slots(1)[0]
    for i in range(3):
        enqueue(one, q, i)
    seen = []
    for clock_s in (2.0, 3.0, 4.0, 5.0, 61.0):
        one["clock_s"] = clock_s
        seen.append((int(next_up(one, q, k)), float(turn_s(one, q, k))))
    assert [i for i, _ in seen] == [0, 1, 2, 0, 0]
    assert [s for _, s in seen] == pytest.approx([2.4, 3.4, 4.4, float("inf"), float("inf")])
    for i in range(3):
        assert next_up(one, q, k) == i
        take(one, q, i)
    assert next_up(one, q, k) == -1


def in_a_row(count: int, late_of: Slo | None, overdue_s: float | None = None) -> list[int]:
    """Prompts of one step each, all of them there at once but the last; who is served when."""
    at_s = [0.0] * (count - 1) + [10.5 * STEP_S]
    q = served(at_s, [32] * count, [1] * count, late_of=late_of, overdue_s=overdue_s)
    return np.argsort(q["first_s"], kind="stable").tolist()  # type: ignore[no-any-return]


def test_who_is_late_goes_behind_a_newcomer_and_late_ones_keep_their_order():
    """After 0.8 x 10 steps the others are late; the last one comes during the eleventh."""
    slo = Slo(ttft_s=(9.5 * STEP_S) / LATE_SHARE)
    assert in_a_row(20, None) == list(range(20))
    assert in_a_row(20, slo) == [*range(11), 19, *range(11, 19)]


def test_who_is_overdue_goes_first_again():
    slo = Slo(ttft_s=(9.5 * STEP_S) / LATE_SHARE)
    assert in_a_row(20, slo, 10.6 * STEP_S) == list(range(20))
    assert in_a_row(20, slo, 11.6 * STEP_S) == [*range(11), 19, *range(11, 19)]


def test_a_large_one_that_does_not_fit_blocks_until_it_is_late():
    """The second needs more than the cache has left; the third came later and would fit."""
    requests = [0.0, 0.001, 0.25], [200, 250, 5], [50, 20, 5]
    plain, late = (served(*requests, late_of=slo) for slo in (None, SLO))
    assert plain["done_s"][0] < plain["first_s"][1] <= plain["first_s"][2]
    assert 0.001 + SLO.late_after_s(250, 1000.0) < late["first_s"][2] < late["done_s"][0]
    assert late["first_s"][1] > late["done_s"][0]


@given(
    requests=REQUESTS,
    looks=st.lists(st.integers(1, 400), max_size=8),
    ttft_s=st.sampled_from((0.0337141, 0.2337141, 1.0337141)),
    factor=st.sampled_from((0.0, 1.7183)),
)
@settings(deadline=None, max_examples=200)
def test_steps_taken_at_once_are_the_steps_one_by_one(
    requests: list[tuple[int, int, int]], looks: list[int], ttft_s: float, factor: float
):
    """Odd moments, so that none falls on the end of a step."""
    requests.sort(key=lambda one: one[0])
    at_s = [0.0100137 * one[0] for one in requests]
    inputs, outputs = [one[1] for one in requests], [one[2] for one in requests]
    slo = Slo(ttft_s=ttft_s, ttft_factor=factor)
    looks_s = tuple(0.013777 * look for look in looks)
    found = served(
        at_s, inputs, outputs, looks_s=looks_s, late_of=slo, overdue_s=OVERDUE_SOON_S + ttft_s
    )
    plain = serve(PROFILE, at_s, inputs, outputs, late_of=slo, overdue_s=OVERDUE_SOON_S + ttft_s)
    assert found["first_s"] == pytest.approx(plain.first_s, rel=1e-7)
    assert found["done_s"] == pytest.approx(plain.done_s, rel=1e-7)
    assert max(step.sequences for step in plain.steps) <= PROFILE.max_sequences
    assert max(step.reserved for step in plain.steps) <= PROFILE.kv_tokens


@given(requests=REQUESTS, replicas=st.integers(1, 3), routing=st.sampled_from((ONGOING, PREFIX)))
@settings(deadline=None)
def test_every_request_is_served_once(
    requests: list[tuple[int, int, int]], replicas: int, routing: int
):
    requests.sort(key=lambda one: one[0])
    at_s = [0.01 * one[0] for one in requests]
    inputs, outputs = [one[1] for one in requests], [one[2] for one in requests]
    engine = Engine(
        at_s, inputs, outputs,
        replicas=replicas, routing=routing, late_of=SLO, overdue_s=OVERDUE_SOON_S,
    )  # fmt: skip
    while np.isnan(engine.q["done_s"]).any():
        engine.move(engine.now_s + 0.05)
        assert (engine.slots["reserved"] <= PROFILE.kv_tokens).all()
        assert engine.now_s < 1000
    slots = engine.slots
    assert slots["finished"].sum() == slots["firsts"].sum() == len(requests)
    assert slots["prefilled"].sum() == sum(inputs)
    assert slots["produced"].sum() == sum(outputs)
    for empty in ("kv", "reserved", "waiting", "waiting_tokens", "waiting_kv", "decoding"):
        assert not slots[empty].any()
    assert (slots["head"] < 0).all() and (slots["late_head"] < 0).all()


@given(ticks=st.lists(st.integers(0, 80), min_size=1, max_size=60))
@settings(deadline=None)
def test_nobody_who_is_late_goes_before_one_in_time_unless_overdue(ticks: list[int]):
    """Prompts of one step each: who is admitted when is known from the first tokens."""
    at_s = np.array([0.0100137 * tick for tick in sorted(ticks)])
    n = len(at_s)
    q = served(at_s.tolist(), [32] * n, [1] * n, late_of=SLO, overdue_s=OVERDUE_SOON_S)
    late_s = SLO.late_after_s(32, PROFILE.prefill_tokens_per_s)
    for i in range(n):
        admitted_s = q["first_s"][i] - STEP_S
        others = (at_s <= admitted_s) & (q["first_s"] > q["first_s"][i])
        wait_s = admitted_s - at_s[i]
        waits_s = admitted_s - at_s[others]
        if wait_s > OVERDUE_SOON_S:
            assert (waits_s <= wait_s + 1e-9).all()
            continue
        assert not (waits_s > OVERDUE_SOON_S).any()
        if wait_s > late_s:
            assert not (waits_s <= late_s).any()


@given(requests=REQUESTS)
@settings(deadline=None)
def test_where_nobody_gets_late_the_order_changes_nothing(requests: list[tuple[int, int, int]]):
    requests.sort(key=lambda one: one[0])
    given_ = [0.01 * one[0] for one in requests], *([one[n] for one in requests] for n in (1, 2))
    plain, late = (served(*given_, late_of=slo) for slo in (None, Slo(ttft_s=1e6)))
    assert plain.tobytes() == late.tobytes()
