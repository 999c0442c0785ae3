"""`hansom cache evaluate`: figures for people and machines, and what is wrong with a file."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from core.errors import HansomError


def cache(*words: str) -> Result:
    return CliRunner().invoke(app, ["cache", *words])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    text = "How do I bake bread?"
    rows = [
        {"a": text, "b": text, "label": 0, "family": "f", "group": "g"},
        {"a": text, "b": "How do I bake 3 loaves?", "label": 0, "family": "f", "group": "g"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_json_is_one_object_with_intervals(pairs: Path):
    done = cache("evaluate", str(pairs), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["n"] == 2
    assert told["hit_rate_low"] < told["hit_rate"] == 0.5 < told["hit_rate_high"]
    assert told["wrong_hits"][0]["cached"] == "How do I bake bread?"
    assert told["reasons"] == {"same_text": 1, "number": 1}


def test_people_see_every_wrong_hit(pairs: Path):
    done = cache("evaluate", str(pairs))
    assert done.exit_code == 0, done.output
    assert "50.0%" in done.stdout
    assert "wrong (same_text" in done.stdout


def test_a_file_that_does_not_fit_is_named(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "x"}', encoding="utf-8")
    error = cache("evaluate", str(path)).exception
    assert isinstance(error, HansomError)
    assert "prompt" in error.message


def test_a_level_that_there_is_not_is_named(pairs: Path):
    error = cache("evaluate", str(pairs), "--level", "0.5").exception
    assert isinstance(error, HansomError)
    assert "0.025" in error.message


def test_tune_tells_every_cut_off_and_that_two_rows_prove_nothing(pairs: Path):
    done = cache("tune", str(pairs), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["limit"], told["kind"]) == (0.01, "pairs")
    assert {one["level"] for one in told["cut_offs"]} == {"", "0.025", "0.01"}
    assert all(one["hits"] == one["wrong"] == 1 for one in told["cut_offs"])
    assert told["advice"]["sure"] is False
    assert told["advice"]["more_hits"] > 299
    shown = cache("tune", str(pairs)).stdout
    assert "does not prove it" in shown and "cache.wrong_share: 0.01" in shown
