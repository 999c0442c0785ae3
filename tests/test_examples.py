"""`examples/`: the commands take every file, and the script makes those that it says."""

import json
import runpy
from pathlib import Path

import pytest

from autoscale.replay.trace import read as read_trace
from cache.tuning.dataset import load_pairs
from cli.cache_warm import read as read_requests
from cli.router_rows import read_labelled
from tests.docs import pages

FOLDER = Path(__file__).parents[1] / "examples"
HOUR_S = 3600.0


def test_the_script_makes_the_files_that_are_there(tmp_path: Path):
    runpy.run_path(str(FOLDER / "make.py"))["make"](tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made.keys() == {path.name for path in FOLDER.glob("*.csv")}
    assert all((FOLDER / name).read_bytes() == content for name, content in made.items())


def test_every_file_is_in_the_readme_and_none_that_is_gone():
    there = {path.name for path in FOLDER.iterdir() if path.is_file()} - {"README.md", "make.py"}
    assert set(pages.rows("examples/README.md", "file")) == there


def test_the_readme_counts_what_is_in_the_files():
    text = pages.text("examples/README.md")
    for name, rows in (("day.csv", 6685), ("week.csv", 10504)):
        assert len(read_trace(FOLDER / name)) == rows and f"{rows:,} requests" in text
    labelled = read_labelled(FOLDER / "graded.csv", "small", "large", by="topic")
    assert len(labelled.prompts) == 400 and "400 prompts" in text
    assert any("\n" in prompt for prompt in labelled.prompts)  # what a CSV reader may trip over
    assert labelled.cost_usd is not None
    pairs = load_pairs(FOLDER / "pairs.jsonl")
    assert len(pairs) == 44 and "44 pairs" in text
    assert {pair.label for pair in pairs} == {0, 1}


def test_the_traces_last_as_long_as_their_names_say():
    assert 23 * HOUR_S < read_trace(FOLDER / "day.csv").span_s < 24 * HOUR_S
    assert 6 * 24 * HOUR_S < read_trace(FOLDER / "week.csv").span_s < 7 * 24 * HOUR_S


@pytest.mark.parametrize("name", ["requests.jsonl", "batch.jsonl"])
def test_every_request_is_one_that_warm_sends(name: str):
    lines = read_requests(FOLDER / name)
    assert len(lines) == 6 and [line.error for line in lines] == [""] * 6
    assert all(line.body["messages"] for line in lines)


def test_the_batch_has_openais_fields_and_unique_names():
    rows = [json.loads(line) for line in (FOLDER / "batch.jsonl").read_text().splitlines()]
    assert all(row.keys() == {"custom_id", "method", "url", "body"} for row in rows)
    assert len({row["custom_id"] for row in rows}) == len(rows)
