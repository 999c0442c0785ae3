"""The peer's side: a snapshot goes out, and what comes back is what Dynamo is told."""

import io
import json

import pytest

from bench.dynamo_side import Remote

SNAPSHOT = {"now_ms": 5000.0, "traffic": {}}


def test_a_snapshot_is_a_line_and_its_answer_the_workers():
    told = io.StringIO()
    remote = Remote(5000.0, told, io.StringIO('{"workers": 7}\n'))
    assert remote.initial_tick_ms() == 5000.0
    assert remote.on_tick(SNAPSHOT) == {
        "target_prefill": None,
        "target_decode": 7,
        "next_tick_ms": 10_000.0,
    }
    assert json.loads(told.getvalue()) == {"snapshot": SNAPSHOT}


def test_without_an_answer_the_replay_ends():
    with pytest.raises(EOFError, match="no answer"):
        Remote(5000.0, io.StringIO(), io.StringIO()).on_tick(SNAPSHOT)
