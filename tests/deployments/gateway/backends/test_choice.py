"""The choice of a replica: the one that begins first, by what was sent and what was heard."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.replay import engine_routing
from deployments.gateway.backends.choice import RUNNING_TOKENS, InFlight, Pace, ReplicaPicker
from deployments.gateway.backends.prefix_index import BLOCK_TOKENS, NO_PROMPT, Prompt

PACE = Pace(prefill_tokens_per_s=1000.0, kv_tokens=100_000, room=100)
IDS = ["a", "b", "c"]


def prompt(tokens: int, name: int = 0) -> Prompt:
    """One that shares nothing with those of other names."""
    blocks = tuple(name * 1_000_000 + at for at in range(tokens // BLOCK_TOKENS))
    return Prompt(tokens, blocks, home=name)


def test_the_replay_counts_with_the_same_weight() -> None:
    assert RUNNING_TOKENS == engine_routing.RUNNING_TOKENS


def test_a_short_prompt_does_not_wait_behind_a_long_one() -> None:
    choice = ReplicaPicker(PACE)
    choice.send("a", prompt(8000, 1), 0.0)
    for name in (2, 3, 4):
        choice.send("b", prompt(100, name), 0.0)
    assert choice.pick(["a", "b"], prompt(100, 5), 0.0) == "b", "three calls, and 300 tokens"


def test_what_has_been_prefilled_since_does_not_wait() -> None:
    choice = ReplicaPicker(PACE)
    choice.send("a", prompt(3000, 1), 0.0)
    choice.send("b", prompt(1000, 2), 0.0)
    choice.send("b", prompt(1000, 3), 0.0)
    assert choice.pick(["a", "b"], prompt(10, 9), 0.0) == "b"
    assert choice.pick(["a", "b"], prompt(10, 9), 3.5) == "a", "one call there, and two on b"


def test_an_answer_that_begins_tells_that_all_before_it_was_read() -> None:
    choice = ReplicaPicker(PACE)
    choice.send("a", prompt(8000, 1), 0.0)
    second = choice.send("a", prompt(8000, 2), 0.0)
    choice.send("b", prompt(500, 3), 0.0)
    assert choice.pick(["a", "b"], prompt(10, 9), 0.1) == "b"
    second.begun()
    choice.send("b", prompt(500, 4), 0.1)
    assert choice.pick(["a", "b"], prompt(10, 9), 0.1) == "a"


def test_a_call_that_was_left_waits_for_nothing() -> None:
    choice = ReplicaPicker(PACE)
    left = choice.send("a", prompt(8000, 1), 0.0)
    choice.send("b", prompt(500, 2), 0.0)
    left.ended()
    assert choice.pick(["a", "b"], prompt(10, 9), 0.0) == "a"


def test_a_conversation_goes_back_to_where_it_was_read() -> None:
    choice = ReplicaPicker(PACE)
    first = choice.send("b", prompt(4000, 1), 0.0)
    first.begun()
    first.ended()
    assert choice.resident(IDS, prompt(8000, 1)) == pytest.approx(0.5, abs=0.02)
    for _ in range(3):
        choice.send("b", prompt(10, 7), 1.0)
    assert choice.pick(IDS, prompt(4100, 1), 1.0) == "b", "busier, and nothing to prefill"
    assert choice.pick(IDS, prompt(4100, 2), 1.0) != "b"


def test_a_cached_beginning_is_no_reason_to_wait_for_longer_than_reading_it_anew() -> None:
    choice = ReplicaPicker(PACE)
    choice.send("b", prompt(4000, 1), 0.0).begun()
    choice.send("b", prompt(9000, 2), 0.0)
    assert choice.pick(["b", "c"], prompt(4000, 1), 0.0) == "c"


def test_a_beginning_that_is_cached_does_not_wait() -> None:
    choice = ReplicaPicker(PACE)
    choice.send("a", prompt(4000, 1), 0.0).begun()
    choice.send("a", prompt(4000, 1), 0.0)
    choice.send("b", prompt(100, 2), 0.0)
    choice.send("b", prompt(100, 3), 0.0)
    assert choice.pick(["a", "b"], prompt(10, 9), 0.0) == "a"


def test_an_engine_without_a_prefix_cache_is_not_taken_to_have_one() -> None:
    choice = ReplicaPicker(Pace(kv_tokens=100_000, caches_prefixes=False, room=100))
    choice.send("a", prompt(4000, 1), 0.0).begun()
    assert choice.resident(IDS, prompt(4000, 1)) == 0.0


def test_the_batch_lane_delays_nobody() -> None:
    choice = ReplicaPicker(PACE)
    choice.send("a", prompt(8000, 1), 0.0, behind=True)
    choice.send("b", prompt(100, 2), 0.0)
    assert choice.pick(["a", "b"], prompt(10, 9), 0.0) == "a"


@pytest.mark.parametrize("pace", [Pace(room=2), Pace(kv_tokens=250, room=99)], ids=["room", "kv"])
def test_one_that_is_full_comes_last(pace: Pace) -> None:
    choice = ReplicaPicker(pace)
    for name in (1, 2):
        choice.send("a", prompt(110, name), 0.0).begun()
    choice.send("b", prompt(200, 3), 0.0)
    assert choice.pick(["a", "b"], prompt(40, 9), 0.0) == "b"
    assert choice.pick(["a"], prompt(40, 9), 0.0) == "a", "the engine has the last word"
    assert choice.has_room("a") is (pace.room > 2)


def test_gateways_share_a_replicas_pace() -> None:
    alone, one_of_two = ReplicaPicker(PACE), ReplicaPicker(PACE, gateways=2)
    for choice in (alone, one_of_two):
        choice.send("a", prompt(3000, 1), 0.0)
        choice.send("b", prompt(1200, 2), 0.0)
        choice.send("b", prompt(10, 3), 0.0)
    assert alone.pick(["a", "b"], NO_PROMPT, 3.1) == "a"
    assert one_of_two.pick(["a", "b"], NO_PROMPT, 3.1) == "b"


def test_idle_replicas_share_prompts_out_and_gateways_agree() -> None:
    gateways = ReplicaPicker(PACE), ReplicaPicker(PACE)
    picked = [
        [choice.pick(ids, prompt(500, name), 0.0) for name in range(300)]
        for choice, ids in zip(gateways, (IDS, IDS[::-1]), strict=True)
    ]
    assert picked[0] == picked[1], "whatever the order in which they know the replicas"
    assert min(Counter(picked[0]).values()) > 60


def test_replicas_that_are_gone_are_forgotten_with_their_last_call() -> None:
    choice = ReplicaPicker(PACE)
    open_, done = choice.send("a", prompt(640, 1), 0.0), choice.send("b", prompt(640, 2), 0.0)
    done.ended()
    choice.keep([])
    assert choice.resident(["a"], prompt(640, 1)) == 1.0
    assert choice.resident(["b"], prompt(640, 2)) == 0.0
    assert choice.calls == 1
    open_.ended()
    choice.keep([])
    assert choice.resident(["a"], prompt(640, 1)) == 0.0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "begin", "end"]),
        st.integers(0, 3000),
        st.floats(0.0, 2.0, allow_nan=False),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_nothing_waits_once_all_has_ended(steps: list[tuple[str, int, float]]) -> None:
    choice, open_, now_s = ReplicaPicker(PACE), list[InFlight](), 0.0
    for step, number, passed_s in steps:
        now_s += passed_s
        if step == "send":
            open_.append(choice.send(IDS[number % 3], prompt(number, number % 7), now_s))
        elif open_ and step == "begin":
            open_[number % len(open_)].begun()
        elif open_:
            open_.pop(number % len(open_)).ended()
        assert choice.calls == len(open_)
    for sent in open_:
        sent.ended()
    weights = [choice._weight(id, NO_PROMPT, now_s) for id in IDS]
    assert weights == [(False, 0.0)] * 3


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=12), st.integers(0, 11))
def test_more_that_waits_never_makes_a_replica_the_better_choice(
    tokens: list[int], at: int
) -> None:
    ids = [f"r{n}" for n in range(len(tokens))]
    choice = ReplicaPicker(PACE)
    for name, (id, waits) in enumerate(zip(ids, tokens, strict=True)):
        choice.send(id, prompt(waits, name), 0.0)
    picked = choice.pick(ids, prompt(10, 99), 0.0)
    assert tokens[ids.index(picked)] == min(tokens)
    other = ids[at % len(ids)]
    choice.send(other, prompt(200, 98), 0.0)
    assert (
        other == choice.pick(ids, prompt(10, 99), 0.0)
        or other != picked
        or (min(tokens) + 200 + RUNNING_TOKENS > sorted(tokens)[1])
    )


def test_prompts_of_one_beginning_meet_and_those_of_many_spread() -> None:
    choice, hits = ReplicaPicker(PACE), Counter[str]()
    now_s = 0.0
    for turn in range(200):
        asked = prompt(1000 + turn * 10, turn % 20)
        id = choice.pick(IDS, asked, now_s)
        hits[id] += choice.resident([id], asked) > 0.5
        sent = choice.send(id, asked, now_s)
        now_s += 0.5
        sent.begun()
        sent.ended()
    assert sum(hits.values()) >= 180 - 3, "all but the first turn of each"
    assert min(hits.values()) > 20


def test_the_pace_of_a_replica_only_falls_behind_what_is_heard() -> None:
    """A profile that is ten times too fast or slow changes when tokens are gone, never below 0."""
    for per_s in (100.0, 10_000.0):
        choice = ReplicaPicker(Pace(prefill_tokens_per_s=per_s, kv_tokens=100_000, room=9))
        choice.send("a", prompt(1000, 1), 0.0)
        weights = [choice._weight("a", NO_PROMPT, now_s)[1] for now_s in (0.0, 0.05, 0.5, 20.0)]
        assert all(later <= earlier for earlier, later in pairwise(weights))
        assert weights[-1] == RUNNING_TOKENS
