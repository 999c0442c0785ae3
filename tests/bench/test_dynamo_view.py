"""What of a snapshot reaches the policy, traces as Dynamo reads them, and an engine's speed."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscale.policy.signals import Traffic
from autoscale.policy.work import PRIOR_INPUT_TOKENS
from autoscale.replay.trace import Trace
from bench.dynamo_view import Pass, Watch, fit, mooncake

TRAFFIC = {
    "duration_s": 5.0, "num_req": 40, "avg_isl": 1000.0, "avg_osl": 200.0, "avg_ttft_ms": 150.0,
    "avg_itl_ms": 40.0, "shape_count": 30, "ttft_count": 30, "itl_count": 30,
}  # fmt: skip
NOTHING = dict.fromkeys(TRAFFIC, 0) | {"duration_s": 5.0}


def a_pass(worker: int = 0, **told: float) -> dict[str, Any]:
    names = (
        "num_prefill_requests", "sum_prefill_tokens", "sum_prefill_kv_tokens",
        "num_decode_requests", "sum_decode_kv_tokens", "num_queued_prefill",
        "sum_queued_prefill_tokens", "num_queued_decode", "wall_time",
    )  # fmt: skip
    return {"worker_id": worker, **dict.fromkeys(names, 0), **told}


def snapshot(now_s: float, active: list[int], **more: Any) -> dict[str, Any]:
    told = {
        "now_ms": now_s * 1000, "active_decode_ids": active, "starting_decode_ids": [],
        "draining_decode_ids": [], "decode_fpm_snapshots": [], "traffic": TRAFFIC,
    }  # fmt: skip
    return told | more


def test_a_worker_is_told_with_its_queue_and_its_kv_cache():
    told = a_pass(
        7, num_prefill_requests=1, sum_prefill_tokens=500, sum_prefill_kv_tokens=100,
        num_decode_requests=9, sum_decode_kv_tokens=400, num_queued_prefill=3,
        num_queued_decode=1, sum_queued_prefill_tokens=2500, wall_time=0.03,
    )  # fmt: skip
    view = Watch(1, 2000).view(snapshot(5, [7], decode_fpm_snapshots=[told]))
    (load,) = view.ready
    assert (load.id, load.at_s, load.started_s) == ("7", 5.0, 0.0)
    assert (load.running, load.waiting, load.waiting_tokens) == (10, 4, 2500)
    assert load.kv_use_ratio == 0.5
    assert load.output_tokens_per_s == pytest.approx(300)
    assert (load.ttft_s, load.tpot_s) == (0.15, 0.04)


def test_prompts_that_came_are_as_long_as_those_that_ended():
    view = Watch(1, 2000).view(snapshot(5, [0]))
    assert view.traffic == Traffic(5.0, 40, 40_000, 0, 30, 6000)


def test_while_none_ends_prompts_are_as_long_as_those_before():
    watch = Watch(1, 2000)
    came = {**NOTHING, "num_req": 2}
    first = watch.view(snapshot(5, [0], traffic=came)).traffic
    assert first.input_tokens == 2 * PRIOR_INPUT_TOKENS
    watch.view(snapshot(10, [0]))
    assert watch.view(snapshot(15, [0], traffic=came)).traffic.input_tokens == 2000


def test_where_nothing_ended_no_wait_is_told():
    (load,) = Watch(1, 2000).view(snapshot(5, [0], traffic=NOTHING)).ready
    assert (load.ttft_s, load.tpot_s) == (None, None)


def test_a_worker_was_asked_for_at_the_tick_before_it_was_seen():
    watch = Watch(1, 2000)
    watch.view(snapshot(5, [0]))
    watch.asked(2)
    view = watch.view(snapshot(10, [0], starting_decode_ids=[1]))
    assert (view.target, view.starting) == (2, (5.0,))
    later = watch.view(snapshot(125, [0, 1]))
    assert [load.started_s for load in later.ready] == [0.0, 5.0]
    assert later.starting == ()


def test_a_worker_without_a_pass_is_as_it_was_and_one_that_drains_is_gone():
    watch = Watch(2, 2000)
    told = a_pass(0, num_decode_requests=3)
    watch.view(snapshot(5, [0, 1], decode_fpm_snapshots=[told]))
    view = watch.view(snapshot(10, [0, 1], draining_decode_ids=[1]))
    assert [(load.id, load.running) for load in view.ready] == [("0", 3)]


def test_a_trace_is_in_milliseconds_and_no_two_requests_share_a_block():
    trace = Trace("t", np.array([0.0, 1.5]), np.array([513, 10]), np.array([7, 8]))
    assert [json.loads(line) for line in mooncake(trace)] == [
        {"timestamp": 0.0, "input_length": 513, "output_length": 7, "hash_ids": [0, 1]},
        {"timestamp": 1500.0, "input_length": 10, "output_length": 8, "hash_ids": [2]},
    ]


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=20))
def test_every_prompt_has_as_many_blocks_as_it_fills(lengths: list[int]):
    trace = Trace("t", np.zeros(len(lengths)), np.array(lengths), np.ones(len(lengths), int))
    blocks = [json.loads(line)["hash_ids"] for line in mooncake(trace)]
    assert [-(-length // 512) for length in lengths] == [len(one) for one in blocks]
    flat = [block for one in blocks for block in one]
    assert len(set(flat)) == len(flat)


def passes(per_sequence_s: float = 2e-4) -> list[Pass]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        sequences, kv = int(rng.integers(1, 200)), int(rng.integers(0, 300_000))
        prompt = int(rng.integers(0, 4000))
        seconds = 0.02 + per_sequence_s * (sequences + 1) + 1e-7 * kv + prompt / 10_000
        found.append(Pass(sequences, kv, 1, prompt, 0, 0, seconds))
    return found


def test_the_constants_of_a_linear_engine_are_found():
    profile, error = fit([*passes(), Pass(0, 0, 0, 0, 0, 0, 0.0)], 8192, 1_000_000, 256, 120.0)
    assert profile.base_s == pytest.approx(0.02)
    assert profile.per_sequence_s == pytest.approx(2e-4)
    assert profile.per_kv_token_s == pytest.approx(1e-7)
    assert profile.prefill_tokens_per_s == pytest.approx(10_000)
    assert (profile.lead_s, profile.max_sequences, error) == (120.0, 256, pytest.approx(0))


def test_no_constant_is_negative():
    profile, error = fit(passes(per_sequence_s=-5e-5), 8192, 1_000_000, 256, 120.0)
    assert profile.per_sequence_s == 0
    assert profile.base_s > 0
    assert error > 0


def test_an_engine_that_ran_nothing_has_no_speed():
    with pytest.raises(ValueError, match="ran nothing"):
        fit([Pass(0, 0, 0, 0, 0, 0, 0.0)], 8192, 1_000_000, 256, 120.0)
