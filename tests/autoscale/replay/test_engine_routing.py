"""Which replica a request goes to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.replay.engine_routing import ONGOING, POW2, PREFIX, TOKENS
from tests.autoscale.replay.engines import WIDE, Engine, served


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


@pytest.mark.parametrize("routing", [POW2, ONGOING, TOKENS, PREFIX])
def test_requests_spread_over_replicas(routing: int):
    q = served([0.001 * n for n in range(60)], [10] * 60, [30] * 60, replicas=3, routing=routing)
    counts = np.bincount(q["slot"], minlength=3)
    assert counts.min() >= 12


@given(
    requests=st.lists(
        st.tuples(st.integers(0, 300), st.integers(1, 150), st.integers(1, 60)),
        min_size=1,
        max_size=40,
    ),
    replicas=st.integers(1, 4),
)
@settings(deadline=None, max_examples=50)
def test_where_nothing_is_cached_prefix_is_tokens(
    requests: list[tuple[int, int, int]], replicas: int
):
    requests.sort(key=lambda one: one[0])
    given_ = [0.01 * one[0] for one in requests], *([one[n] for one in requests] for n in (1, 2))
    one, other = (served(*given_, replicas=replicas, routing=r) for r in (PREFIX, TOKENS))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("routing", "waiting_tokens", "same"),
    [(PREFIX, 1400, True), (PREFIX, 1600, False), (TOKENS, 100, False)],
)
def test_a_prompt_goes_where_it_is_cached_unless_more_waits_there(
    routing: int, waiting_tokens: int, same: bool
):
    """Of 1,600 tokens 1,536 are there, behind those of one that shares them and goes on."""
    engine = Engine(
        [0.0, 60.0, 60.001], [1600, 1536 + waiting_tokens, 1600], [5] * 3,
        replicas=2, routing=routing, profile=WIDE, prompts=[[0, 1, 2]] * 3,
    )  # fmt: skip
    engine.move(60.002)
    slots = engine.q["slot"].tolist()
    assert slots[1] == slots[0] or routing == TOKENS
    assert (slots[2] == slots[1]) is same


def test_what_waits_is_what_is_not_cached():
    """It is known anew when the prompt is begun: the second finds what the first left."""
    engine = Engine(
        [0.0, 0.001, 60.0], [2048, 2048, 2048], [5] * 3,
        routing=PREFIX, profile=WIDE, prompts=[[0, 1, 2, 3]] * 3,
    )  # fmt: skip
    engine.move(0.002)
    assert engine.slots["waiting_tokens"][0] == 4096
    engine.move(59.0)
    assert engine.slots["waiting_tokens"][0] == 0
    assert engine.q["cached"].tolist() == [0, 1024, 0]
    engine.move(60.001)
    assert engine.slots["waiting_tokens"][0] == 512
