"""The compiled engine: exact for one request, and step by step the same as plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.policy.profile import EngineProfile
from autoscale.replay.engine_routing import ONGOING, POW2, PREFIX, TOKENS
from autoscale.replay.engine_state import REFUSED
from tests.autoscale.replay.engine_by_steps import serve
from tests.autoscale.replay.engines import PROFILE, TIGHT, WIDE, Engine, served


@given(
    tokens=st.integers(1, 200),
    output=st.integers(1, 100),
    at_s=st.floats(0, 1e4, allow_nan=False),
)
@settings(deadline=None)
def test_one_request_alone_takes_what_the_formula_says(tokens: int, output: int, at_s: float):
    (one,) = served([at_s], [tokens], [output])
    chunks = [min(32, tokens - done) for done in range(0, tokens, 32)]
    ttft_s = sum(PROFILE.step_s(1, 32 * n, chunk) for n, chunk in enumerate(chunks))
    rest_s = sum(PROFILE.step_s(1, tokens + n) for n in range(output - 1))
    assert one["first_s"] - at_s == pytest.approx(ttft_s, rel=1e-6, abs=1e-8)
    assert one["done_s"] - one["first_s"] == pytest.approx(rest_s, rel=1e-6, abs=1e-8)


REQUESTS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 150), st.integers(1, 60)), min_size=1, max_size=40
)


@pytest.mark.parametrize("profile", [PROFILE, TIGHT])
@given(requests=REQUESTS, looks=st.lists(st.integers(1, 400), max_size=8))
@settings(deadline=None, max_examples=200)
def test_steps_taken_at_once_are_the_steps_one_by_one(
    profile: EngineProfile, requests: list[tuple[int, int, int]], looks: list[int]
):
    """Odd moments, so that none falls on the end of a step."""
    requests.sort(key=lambda one: one[0])
    at_s = [0.0101337 * one[0] for one in requests]
    inputs, outputs = [one[1] for one in requests], [one[2] for one in requests]
    looks_s = tuple(0.013777 * look for look in looks)
    found = served(at_s, inputs, outputs, looks_s=looks_s, profile=profile)
    plain = serve(profile, at_s, inputs, outputs)
    assert found["first_s"] == pytest.approx(plain.first_s, rel=1e-7)
    assert found["done_s"] == pytest.approx(plain.done_s, rel=1e-7)
    assert (np.diff(found["first_s"]) >= 0).all()  # first come, first served
    assert max(step.sequences for step in plain.steps) <= PROFILE.max_sequences
    assert max(step.reserved for step in plain.steps) <= PROFILE.kv_tokens


def test_a_prompt_beside_others_leaves_the_watermark_free():
    """Of 400 tokens 80 stay free: 150 and 180 are too many at once, and 180 alone is not."""
    beside = served([0.0, 0.001], [150, 180], [10, 2], profile=TIGHT)
    assert beside["first_s"][1] > beside["done_s"][0]
    free = TIGHT.model_copy(update={"watermark": 0.0})
    early = served([0.0, 0.001], [150, 180], [10, 2], profile=free)
    assert early["first_s"][1] < early["done_s"][0]
    alone = served([0.0], [380], [2], profile=TIGHT)
    assert alone["done_s"][0] > 0


def test_a_cache_is_given_out_in_whole_blocks():
    """Two of 190 tokens fit 400 by tokens, and not in blocks of 150."""
    coarse = PROFILE.model_copy(update={"block_tokens": 150})
    for profile, together in ((PROFILE, True), (coarse, False)):
        q = served([0.0, 0.001], [100, 100], [90, 90], profile=profile)
        assert bool(q["first_s"][1] < q["done_s"][0]) is together


@pytest.mark.parametrize(("block_tokens", "cached"), [(16, 1584), (32, 1568), (512, 1536)])
def test_a_prompt_that_was_served_whole_is_found_in_whole_blocks_of_the_engine(
    block_tokens: int, cached: int
):
    """Of 1,600 tokens that are all there the last is computed, with its block."""
    fine = WIDE.model_copy(update={"block_tokens": block_tokens})
    q = served([0.0, 50.0], [1600] * 2, [5] * 2, profile=fine, prompts=[[0, 1, 2, 3]] * 2)
    assert q["cached"].tolist() == [0, cached]


@given(
    requests=REQUESTS,
    replicas=st.integers(1, 4),
    routing=st.sampled_from((POW2, ONGOING, TOKENS, PREFIX)),
)
@settings(deadline=None)
def test_every_request_is_served_once_and_no_limit_is_passed(
    requests: list[tuple[int, int, int]], replicas: int, routing: int
):
    requests.sort(key=lambda one: one[0])
    at_s = [0.01 * one[0] for one in requests]
    inputs, outputs = [one[1] for one in requests], [one[2] for one in requests]
    engine = Engine(at_s, inputs, outputs, replicas=replicas, routing=routing)
    q, slots = engine.q, engine.slots
    while np.isnan(q["done_s"]).any():
        engine.move(engine.now_s + 0.05)
        running = slots["decoding"] + slots["joining"] + (slots["partial"] >= 0)
        assert (running <= PROFILE.max_sequences).all()
        assert (slots["kv"] <= slots["reserved"]).all()
        assert (slots["reserved"] <= PROFILE.kv_tokens).all()
        assert engine.now_s < 1000
    assert slots["finished"].sum() == len(requests)
    assert slots["prefilled"].sum() == sum(inputs)
    assert slots["produced"].sum() == slots["finished_tokens"].sum() == sum(outputs)
    for empty in ("kv", "reserved", "waiting", "waiting_tokens", "waiting_kv", "decoding"):
        assert not slots[empty].any()
    assert (q["first_s"] > q["at_s"]).all() and (q["done_s"] >= q["first_s"]).all()


def test_what_is_larger_than_the_cache_is_refused_and_stops_nobody():
    q = served([0.0, 0.0], [390, 10], [20, 5])
    assert q["slot"].tolist() == [REFUSED, 0]
    assert np.isnan(q["done_s"][0]) and q["done_s"][1] > 0


def test_the_head_of_the_queue_is_not_overtaken_by_a_smaller_one():
    """The second needs more than the cache has left; the third would fit at once."""
    q = served([0.0, 0.001, 0.002], [200, 250, 5], [50, 20, 5])
    assert q["first_s"][1] > q["done_s"][0]
    assert q["first_s"][2] >= q["first_s"][1]


def test_decoding_comes_before_prefill_in_the_budget():
    """Of 32 tokens 6 - 1 go to sequences that decode: the newcomer's 30 take two steps."""
    q = served([0.0] * 5 + [0.2], [2] * 5 + [30], [100] * 5 + [1])
    alone = served([0.2], [30], [1])
    assert q["first_s"][5] - q["at_s"][5] > 1.5 * (alone["first_s"][0] - 0.2)


TALKS = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.lists(st.integers(0, 1), min_size=1, max_size=5),
        st.integers(0, 511),
        st.integers(1, 60),
    ),
    min_size=1,
    max_size=30,
)
"""When, the prompt's blocks as letters, the tokens after them, the tokens of the answer."""


@given(talks=TALKS, looks=st.lists(st.integers(1, 400), max_size=8))
@settings(deadline=None)
def test_what_is_cached_is_not_prefilled_and_else_steps_are_the_same(
    talks: list[tuple[int, list[int], int, int]], looks: list[int]
):
    talks.sort(key=lambda one: one[0])
    at_s = [0.0301337 * one[0] for one in talks]
    inputs, outputs = [512 * len(one[1]) + one[2] for one in talks], [one[3] for one in talks]
    names: dict[tuple[int, ...], int] = {}
    prompts = [
        [names.setdefault(tuple(one[1][: n + 1]), len(names)) for n in range(len(one[1]))]
        for one in talks
    ]
    engine = Engine(at_s, inputs, outputs, profile=WIDE, prompts=prompts)
    for until_s in (*sorted(0.013777 * look for look in looks), 1e9):
        engine.move(until_s)
        assert engine.slots["waiting_tokens"][0] >= 0
    q, slots = engine.q, engine.slots
    plain = serve(WIDE, at_s, inputs, outputs, q["cached"].tolist())
    assert q["first_s"] == pytest.approx(plain.first_s, rel=1e-7)
    assert q["done_s"] == pytest.approx(plain.done_s, rel=1e-7)
    assert slots["prefilled"].sum() + slots["cached"].sum() == sum(inputs)
    assert slots["cached"].sum() == q["cached"].sum()
    assert (q["cached"] < q["input_tokens"]).all() and not (q["cached"] % 512).any()
    for empty in ("kv", "reserved", "waiting", "waiting_tokens", "waiting_kv", "decoding"):
        assert not slots[empty].any()
    assert (engine.marks >= 0).all()  # nobody uses a block any more


def test_a_prompt_that_was_served_before_takes_its_last_chunk_alone():
    """Of 1,600 tokens three blocks are there: 64 are computed, beside the KV of 1,536."""
    q = served([0.0, 50.0], [1600, 1600], [5, 5], profile=WIDE, prompts=[[0, 1, 2]] * 2)
    assert q["cached"].tolist() == [0, 1536]
    assert q["first_s"][1] - 50.0 == pytest.approx(WIDE.step_s(1, 1536, 64))
    assert q["done_s"][1] - q["first_s"][1] == pytest.approx(
        sum(WIDE.step_s(1, 1600 + n) for n in range(4))
    )


def test_blocks_are_there_once_they_are_prefilled():
    """Chunks of 700: the second begins in the third step, after 1,400 tokens of the first.

    Two short ones begin in one step, and neither finds what the other is about to have.
    """
    q = served([0.0, 0.0], [2048, 2048], [5, 5], profile=WIDE, prompts=[[0, 1, 2, 3]] * 2)
    assert q["cached"].tolist() == [0, 1024]
    short = served([0.0, 0.0], [520, 520], [5, 5], profile=WIDE, prompts=[[0]] * 2)
    assert short["cached"].tolist() == [0, 0]


def test_a_cached_prompt_reserves_its_whole_cache():
    """8,000 tokens of KV: a prompt of 4,608 is cached, and two of them are still too many."""
    prompts = [list(range(9))] * 3
    q = served([0.0, 99.0, 99.0], [4608] * 3, [50] * 3, profile=WIDE, prompts=prompts)
    assert q["cached"].tolist() == [0, 4096, 4096]
    assert q["first_s"][2] > q["done_s"][1]
