"""The conversation with Dynamo's side, on a stand-in that speaks as it does."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoscale.policy.signals import View, WantedReplicas
from autoscale.replay.trace import Trace
from bench.dynamo import FIGURES, RAMP_S, DynamoAnswer, DynamoPeer, Scene, converse, line, ramp, row
from bench.dynamo_view import Watch, fit
from core.settings.scaling import Scaling
from tests.bench.test_dynamo_view import passes, snapshot

LENGTHS = Trace("t", np.arange(3.0), np.array([10, 20, 30]), np.array([1, 2, 3]))

STAND_IN = """#!{python}
import json, sys
assert sys.argv[1] == "-P" and sys.argv[2].endswith("dynamo_side.py")
job = json.load(open(sys.argv[3]))
print(json.dumps({{"snapshot": {told!r} | {{"n": job["workers"]}}}}), flush=True)
answer = json.loads(sys.stdin.readline())
{end}
"""
REPORTS = 'print(json.dumps({"report": {"answer": answer, "job": job}}))'
FIGURED = """
figures = dict.fromkeys({figures!r}, 7.0)
good = {{"goodput_completed_requests": 3, "num_requests": 4, "gpu_hours": answer["workers"]}}
print(json.dumps({{"report": figures | good}}))
"""
FAILS = 'sys.exit("it broke")'


def stand_in(folder: Path, end: str) -> Path:
    path = folder / "python"
    told = snapshot(5, [0, 1])
    path.write_text(STAND_IN.format(python=sys.executable, told=told, end=end))
    path.chmod(0o755)
    return path


def test_each_snapshot_is_answered_until_the_report_comes():
    told = [json.dumps({"snapshot": {"n": n}}) for n in (1, 2)]
    asked = io.StringIO()
    assert converse([*told, '{"report": {"a": 1}}', "never read"], asked, lambda s: s["n"] + 1) == {
        "a": 1
    }
    assert asked.getvalue() == '{"workers": 2}\n{"workers": 3}\n'


def test_the_job_says_how_and_the_peer_is_asked(tmp_path: Path):
    peer = DynamoPeer(stand_in(tmp_path, REPORTS), tmp_path)
    found = peer.replay(tmp_path / "t.jsonl", 4, 5.0, lambda told: told["n"] * 2)
    assert found["answer"] == {"workers": 8}
    assert found["job"]["tick_ms"] == 5000.0
    assert (found["job"]["sla_ttft_ms"], found["job"]["sla_itl_ms"]) == (2000.0, 100.0)
    planned = peer.planned(tmp_path / "t.jsonl", 4, "latency")["job"]
    assert planned["planner"]["optimization_target"] == "latency"
    assert "tick_ms" not in planned


def test_a_peer_that_ends_early_says_why(tmp_path: Path):
    peer = DynamoPeer(stand_in(tmp_path, FAILS), tmp_path)
    with pytest.raises(SystemExit, match="it broke"):
        peer.replay(tmp_path / "t.jsonl", 1, 5.0, lambda _: 1)


@pytest.mark.parametrize(
    ("policy", "asked_for"),
    [
        ("fixed:3", 3),
        ('ours {"risk_floor": 40}', 40),
        ('ours {"risk_floor": 50}', 50),
        ("ray:8", 1),
    ],
)
def test_a_row_is_what_dynamo_reports_of_a_policy(tmp_path: Path, policy: str, asked_for: int):
    peer = DynamoPeer(stand_in(tmp_path, FIGURED.format(figures=list(FIGURES))), tmp_path)
    profile, _ = fit(passes(), 8192, 1_000_000, 256, 120.0)
    name, _, setting = policy.partition(" ")
    scaling = Scaling.model_validate_json(setting or "{}")
    told = row(Scene(peer, LENGTHS, tmp_path / "t.jsonl", profile, scaling), name)
    assert told["slo_attainment"] == 0.75
    assert told["gpu_hours"] == asked_for
    assert told["p99_ttft_ms"] == 7.0


def test_a_scaler_is_asked_with_views_and_its_moves_are_counted():
    views: list[View] = []

    def scale(view: View) -> WantedReplicas:
        views.append(view)
        return WantedReplicas((3, 3, 0)[len(views) - 1], "test", "")

    answer = DynamoAnswer(scale, Watch(2, 1000), 2)
    assert [answer(snapshot(5.0 * n, [0, 1])) for n in (1, 2, 3)] == [3, 3, 1]
    assert [view.target for view in views] == [2, 3, 3]
    assert (answer.moves, answer.peak) == (2, 3)


def test_a_ramp_grows_and_takes_lengths_in_turn():
    made = ramp(LENGTHS)
    early, late = (int(((made.at_s // (RAMP_S / 2)) == half).sum()) for half in (0, 1))
    assert late > 1.5 * early
    assert made.input_tokens[:4].tolist() == [10, 20, 30, 10]
    assert made.output_tokens[:4].tolist() == [1, 2, 3, 1]


def test_a_row_of_the_table_has_every_figure():
    told: dict[str, Any] = dict.fromkeys(FIGURES, 1234.4)
    told |= {"policy": "ours", "slo_attainment": 0.99604, "gpu_hours": 24.04, "moves": 24}
    cells = line(told).strip("| ").split(" | ")
    assert cells == ["ours", "99.60%", "24.0", "24", *["1,234"] * len(FIGURES)]
    del told["moves"]
    assert " | – | " in line(told)
