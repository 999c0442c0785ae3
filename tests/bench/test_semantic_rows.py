"""The tables beside other caches: what is served, how wrong it is, and the best in hindsight."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.semantic import Pool
from bench.semantic_rows import (
    COSINE,
    DEFAULT_COSINE,
    THRESHOLD,
    Probed,
    SemanticRow,
    Told,
    at_share,
    context_table,
    hindsight,
    pair_rows,
    pair_tables,
    ratio,
    stream_rows,
    stream_share,
    stream_table,
    table,
    unlike,
)
from cache.tuning.dataset import Pair, Request

REQUESTS = [Request("a", "x"), Request("b", "y"), Request("c", "x"), Request("d", "oos")]
REQUESTS += [Request("e", "oos")]


def pairs(*labels: int) -> list[Pair]:
    return [Pair("a", "b", label, "f", "g") for label in labels]


def told(closeness: list[float], served: list[bool] | None = None) -> Told:
    """Of a set of four pairs, the first two right; at redisvl's default unless said."""
    near = np.array(closeness)
    decided = near >= -0.1 if served is None else np.array(served)
    return Told({"set": decided}, {"set": near}, [True, False, True], {})


SETS = {"set": pairs(1, 1, 0, 0)}
NEAR = told([-0.05, -0.2, -0.08, -0.5])


def shown(made: object) -> str:
    console = Console(width=200)
    with console.capture() as caught:
        console.print(made)
    return caught.get()


def test_a_peers_json_is_read():
    raw = {
        "pairs": {"set": {"served": [True, False], "closeness": [0.9, 0.2]}},
        "context": [True],
        "streams": {"s": [[None, [-1, 0]], [0.95, [-1, -1]]]},
    }
    found = Told.read(json.dumps(raw))
    assert found.served["set"].tolist() == [True, False]
    assert found.closeness["set"].tolist() == [0.9, 0.2]
    assert found.streams == {"s": [(None, [-1, 0]), (0.95, [-1, -1])]}
    with pytest.raises(KeyError):
        Told.read('{"pairs": {}}')


@pytest.mark.parametrize(
    ("peer", "closeness"), [("gptcache", lambda limit: limit), ("redisvl", lambda limit: -limit)]
)
def test_a_threshold_and_its_closeness_are_one_cosine(peer, closeness):
    assert COSINE[peer](closeness(THRESHOLD[peer](0.85))) == pytest.approx(0.85)


def test_the_defaults_are_those_cosines():
    assert THRESHOLD["gptcache"](DEFAULT_COSINE["gptcache"]) == pytest.approx(0.8)
    assert THRESHOLD["redisvl"](DEFAULT_COSINE["redisvl"]) == pytest.approx(0.1)


def test_a_peers_rows_are_default_best_within_the_bound_and_serving_as_much():
    default, within, alike = pair_rows("redisvl", SETS, NEAR, 0.75, 0.0)
    assert (default.served, default.wrong, default.recall) == (0.5, 0.5, 0.5)
    assert (within.served, within.wrong) == (0.25, 0)
    assert "cosine 0.950" in within.setting
    assert (alike.served, alike.wrong, alike.recall) == (0.75, pytest.approx(1 / 3), 1)
    assert "cosine 0.800" in alike.setting


def test_a_bound_that_nothing_keeps_is_told():
    within = pair_rows("redisvl", SETS, told([-0.2, -0.3, -0.1, -0.1]), 0.1, 0.0)[1]
    assert within.served == 0
    assert within.setting.endswith("none")


@given(
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
    st.floats(0, 1),
)
def test_serving_as_much_takes_the_strictest_threshold_that_does(closeness, share):
    pool = Pool(SETS)
    near = {"set": np.array(closeness)}
    marks, threshold = at_share(pool, near, share)
    assert marks[0] >= share
    stricter = {"set": near["set"] > threshold}
    assert pool.marks(stricter)[0] < share or not stricter["set"].any()


def test_decisions_unlike_the_own_score_are_counted_but_not_at_the_edge():
    assert unlike("redisvl", NEAR) == 0
    assert unlike("redisvl", told([-0.05, -0.2, -0.08, -0.5], [True, True, True, False])) == 1
    assert unlike("redisvl", told([-0.1003, -0.2, -0.05, -0.5], [True, False, True, False])) == 0


def test_a_stream_is_right_where_the_answers_are_equal_and_never_out_of_scope():
    assert stream_share(REQUESTS, [-1, -1, 0, -1, 3]) == (pytest.approx(0.4), 0.5)
    assert stream_share(REQUESTS, [-1, 0, -1, -1, -1]) == (pytest.approx(0.2), 1)
    assert stream_share(REQUESTS, [-1] * 5) == (0, 0)


def test_a_streams_runs_are_named_by_their_threshold():
    rows = stream_rows("gptcache", REQUESTS, [(None, [-1, -1, 0, -1, 3]), (0.95, [-1] * 5)])
    assert [row.setting for row in rows] == ["default", "threshold 0.95"]


def test_hindsight_takes_the_most_served_within_the_bound():
    rows = [
        SemanticRow("a", "x", 0.9, 0.3),
        SemanticRow("a", "y", 0.3, 0.01),
        SemanticRow("a", "z", 0.2, 0.0),
    ]
    assert hindsight(rows, 0.02) == rows[1]
    assert hindsight(rows, 0.0) == rows[2]
    assert hindsight([rows[0], SemanticRow("a", "none", 0.0, 0.0)], 0.02) is None


def test_a_ratio_is_to_ours_and_missing_beside_nothing():
    ours = SemanticRow("ours", "", 0.2, 0.01)
    assert ratio(SemanticRow("a", "", 0.5, 0.1), ours) == pytest.approx(10)
    assert ratio(SemanticRow("a", "", 0.0, 0.0), ours) is None
    assert ratio(SemanticRow("a", "", 0.5, 0.1), SemanticRow("ours", "", 0.2, 0.0)) is None


def test_pairs_are_told_together_and_without_the_sets_that_ours_learned_from():
    sets = {"probes": pairs(1, 0), "medical_qp": pairs(1, 0)}
    mine = {("out of fold", "0.025"): {name: np.array([True, False]) for name in sets}}
    right, wrong = np.array([True, False]), np.array([False, True])
    peer = Told(
        {"probes": right, "medical_qp": wrong},
        {"probes": np.array([0.9, 0.1]), "medical_qp": np.array([0.2, 0.8])},
        [],
        {},
    )
    made = pair_tables(sets, mine, {"gptcache": peer, "redisvl": "no module"}, 0.025)
    pooled, untaught = made["pairs, counting alike"], made["pairs, never trained on"]
    assert [row.cache for row in pooled] == ["ours", *["gptcache"] * 3, "redisvl"]
    assert (pooled[1].wrong, untaught[1].wrong) == (0.5, 1)
    assert pooled[-1].setting == "not run: no module"


def test_a_streams_table_ends_a_peer_with_its_best_that_is_no_more_wrong():
    ours = [SemanticRow("ours", "out of fold", 0.5, 0.1)]
    peer = Told({}, {}, [], {"s": [(None, [-1, 0, 0, 0, 0]), (0.95, [-1, -1, 0, -1, -1])]})
    rows = stream_table("s", REQUESTS, ours, {"gptcache": peer, "redisvl": "no module"})
    assert [row.setting for row in rows[1:3]] == ["default", "threshold 0.95"]
    assert rows[3].setting.endswith("threshold 0.95")
    assert (rows[3].served, rows[3].wrong) == (pytest.approx(0.2), 0)
    assert rows[4].setting == "not run: no module"


def test_context_probes_are_counted_by_what_they_should_have_done():
    assert Probed.of("a", NEAR, [True, False, False]) == Probed("a", 1, 2, 1, 1)
    assert Probed.of("a", "no module", [True]) == Probed("a", 0, 0, 0, 0)
    assert "1 of 2" in shown(context_table([Probed("a", 1, 2, 1, 1)]))


def test_a_table_tells_the_ratio_to_its_first_row():
    text = shown(
        table("t", [SemanticRow("ours", "x", 0.2, 0.01, 0.5), SemanticRow("a", "y", 0.3, 0.1)])
    )
    assert "10.0" in text
    assert "20.0%" in text
