"""The compiled engine: exact for one request, and step by step the same as plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.engine_model import ONGOING, POW2, TOKENS, run
from autoscale.engine_state import (
    REFUSED,
    Constants,
    Records,
    new_lists,
    new_requests,
    new_slots,
)
from autoscale.profile import EngineProfile
from tests.autoscale.engine_by_steps import serve

PROFILE = EngineProfile(
    name="p",
    source="a test",
    base_s=0.01,
    per_sequence_s=0.001,
    per_kv_token_s=1e-5,
    prefill_tokens_per_s=1000.0,
    chunk_tokens=32,
    kv_tokens=400,
    max_sequences=6,
)


def served(
    at_s: list[float],
    inputs: list[int],
    outputs: list[int],
    *,
    replicas: int = 1,
    routing: int = ONGOING,
    profile: EngineProfile = PROFILE,
    looks_s: tuple[float, ...] = (),
) -> Records:
    """Requests through so many replicas; `looks_s` are moments at which somebody looks."""
    q = new_requests(np.array(at_s), np.array(inputs), np.array(outputs))
    slots, lists = new_slots(replicas), new_lists(replicas, profile.max_sequences)
    draws = np.random.default_rng(0).random((len(q), 2))
    all_, routed, now_s = np.arange(replicas), 0, 0.0
    for until_s in (*sorted(looks_s), 1e9):
        routed = run(
            slots, lists, q, Constants.of(profile), all_, all_, routed, now_s, until_s,
            routing, draws,
        )  # fmt: skip
        now_s = until_s
    assert routed == len(q)
    return q


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


@given(requests=REQUESTS, looks=st.lists(st.integers(1, 400), max_size=8))
@settings(deadline=None, max_examples=200)
def test_steps_taken_at_once_are_the_steps_one_by_one(
    requests: list[tuple[int, int, int]], looks: list[int]
):
    """Odd moments, so that none falls on the end of a step."""
    requests.sort(key=lambda one: one[0])
    at_s = [0.0101337 * one[0] for one in requests]
    inputs, outputs = [one[1] for one in requests], [one[2] for one in requests]
    found = served(at_s, inputs, outputs, looks_s=tuple(0.013777 * look for look in looks))
    plain = serve(PROFILE, at_s, inputs, outputs)
    assert found["first_s"] == pytest.approx(plain.first_s, rel=1e-7)
    assert found["done_s"] == pytest.approx(plain.done_s, rel=1e-7)
    assert (np.diff(found["first_s"]) >= 0).all()  # first come, first served
    assert max(step.sequences for step in plain.steps) <= PROFILE.max_sequences
    assert max(step.reserved for step in plain.steps) <= PROFILE.kv_tokens


@given(
    requests=REQUESTS,
    replicas=st.integers(1, 4),
    routing=st.sampled_from((POW2, ONGOING, TOKENS)),
)
@settings(deadline=None)
def test_every_request_is_served_once_and_no_limit_is_passed(
    requests: list[tuple[int, int, int]], replicas: int, routing: int
):
    requests.sort(key=lambda one: one[0])
    at_s = [0.01 * one[0] for one in requests]
    inputs, outputs = [one[1] for one in requests], [one[2] for one in requests]
    q = new_requests(np.array(at_s), np.array(inputs), np.array(outputs))
    slots, lists = new_slots(replicas), new_lists(replicas, PROFILE.max_sequences)
    all_, routed, now_s = np.arange(replicas), 0, 0.0
    draws = np.random.default_rng(0).random((len(q), 2))
    while np.isnan(q["done_s"]).any():
        until_s = now_s + 0.05
        routed = run(
            slots, lists, q, Constants.of(PROFILE), all_, all_, routed, now_s, until_s,
            routing, draws,
        )  # fmt: skip
        running = slots["decoding"] + slots["joining"] + (slots["partial"] >= 0)
        assert (running <= PROFILE.max_sequences).all()
        assert (slots["kv"] <= slots["reserved"]).all()
        assert (slots["reserved"] <= PROFILE.kv_tokens).all()
        now_s = until_s
        assert now_s < 1000
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


def test_tokens_keep_requests_away_from_a_long_prompt():
    at_s, inputs, outputs = [0.001 * n for n in range(5)], [300, 5, 5, 5, 5], [5] * 5
    slots = {
        routing: served(at_s, inputs, outputs, replicas=2, routing=routing)["slot"]
        for routing in (TOKENS, ONGOING)
    }
    assert (slots[TOKENS][1:] != slots[TOKENS][0]).all()
    assert (slots[ONGOING][1:] == slots[ONGOING][0]).any()


def test_tokens_prefer_a_replica_whose_cache_has_room():
    """Nobody waits at 0.8 s; one replica runs one sequence that has most of its cache."""
    at_s, inputs, outputs = (
        [0.0, *(0.001 * n for n in range(1, 5)), 0.8],
        [200] + [5] * 4 + [100],
        [150] + [60] * 4 + [10],
    )
    q = served(at_s, inputs, outputs, replicas=2, routing=TOKENS)
    assert (q["slot"][1:] != q["slot"][0]).all()
    assert (q["done_s"][:5] > 0.8).all()


@pytest.mark.parametrize("routing", [POW2, ONGOING, TOKENS])
def test_requests_spread_over_replicas(routing: int):
    q = served([0.001 * n for n in range(60)], [10] * 60, [30] * 60, replicas=3, routing=routing)
    counts = np.bincount(q["slot"], minlength=3)
    assert counts.min() >= 12
