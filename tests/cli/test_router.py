"""`hansom router`: what it says is what was measured, and what is missing is named."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet
from typer.testing import CliRunner, Result

from cli.main import app
from core.errors import HansomError
from router.policy.promise import load
from router.score.explain import SAMPLE_FILE, SAMPLE_SHA256, TrainingPrompt, pack_sample
from router.score.model import DEFAULT_ARTEFACT, MANIFEST_FILE, Scorer
from router.tuning.guarantee import LEAST_ROWS
from tests.cli.commands import hansom

ROOT = Path(__file__).parents[2]
WEAK, MIDDLE, STRONG = "org/small", "org/middle", "org/large"
BOTH = ("--weak", WEAK, "--strong", STRONG)
ROWS = 240


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums, of which the small model gets the long ones wrong; one row has no score."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 7, ROWS)
    prompts = [
        " + ".join(str(number) for number in generator.integers(1, 99, length)) + " = ?"
        for length in lengths
    ]
    columns: dict[str, Any] = {
        "prompt": prompts,
        f"score::{WEAK}": [*(lengths[:-1] < 5).astype(float), None],
        f"score::{STRONG}": (generator.random(ROWS) < 0.95).astype(float),
        f"score::{MIDDLE}": (generator.random(ROWS) < 0.8).astype(float),
        f"cost::{WEAK}": np.full(ROWS, 0.0001),
        f"cost::{MIDDLE}": np.full(ROWS, 0.0006),
        f"cost::{STRONG}": np.full(ROWS, 0.0021),
        "subject": ["sums"] * (LEAST_ROWS + 5) + ["more"] * (ROWS - LEAST_ROWS - 5),
        "contaminated": [True] + [False] * (ROWS - 1),
    }
    path = tmp_path_factory.mktemp("graded") / "sums.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


def router(*words: str, read: str | None = None) -> Result:
    return CliRunner().invoke(app, ["router", *words], input=read)


def told(*words: str) -> dict[str, Any]:
    """What the command prints as JSON."""
    done = router(*words, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def refused(*words: str) -> str:
    """The one line of an error that a user can mend: exit code 1 of the entry point."""
    error = router(*words).exception
    assert isinstance(error, HansomError)
    return error.message


def test_a_calibration_tells_cut_off_promise_curve_and_conditions(graded: Path) -> None:
    made = told("calibrate", str(graded), *BOTH, "--quality", "0.9")
    assert (made["rows"], made["left_out"]) == (ROWS - 2, 2)
    assert (made["target"], made["delta"], made["method"]) == (0.9, 0.05, "clt")
    assert made["quality"] >= made["promised_quality"]
    assert [part["name"] for part in made["parts"]] == ["all"]
    shares = [point["strong_share"] for point in made["curve"]]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert len(made["conditions"]) >= 3


def test_a_calibration_in_a_terminal_says_what_to_put_in_the_settings(graded: Path) -> None:
    shown = router("calibrate", str(graded), *BOTH, "--quality", "0.9").stdout
    for words in ("Promised: 90.0%", "In at most 5.0%", "router.threshold:", "to strong"):
        assert words in shown


@pytest.mark.parametrize(("name", "begins"), [("c.svg", b"<?xml"), ("c.png", b"\x89PNG")])
def test_the_curve_can_be_drawn(graded: Path, tmp_path: Path, name: str, begins: bytes) -> None:
    told("calibrate", str(graded), *BOTH, "--plot", str(tmp_path / name))
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_what_is_kept_is_what_is_printed(graded: Path, tmp_path: Path) -> None:
    made = told("calibrate", str(graded), *BOTH, "--out", str(tmp_path / "c.json"))
    assert json.loads((tmp_path / "c.json").read_text()) == made


def test_a_folder_that_is_not_there_is_not_a_traceback(graded: Path, tmp_path: Path) -> None:
    words = refused("calibrate", str(graded), *BOTH, "--out", str(tmp_path / "no" / "c.json"))
    assert "no such folder" in words


def test_each_value_of_a_column_has_its_cut_off(graded: Path) -> None:
    made = told("calibrate", str(graded), *BOTH, "--by", "subject")
    assert [part["name"] for part in made["parts"]] == ["sums", "others"]
    assert made["parts"][1]["covers"] == ["more"]


THREE = ("--between", MIDDLE)


def test_a_calibration_for_three_tiers_makes_a_promise_that_three_tiers_take(
    graded: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cut-off.json"
    made = told("calibrate", str(graded), *BOTH, *THREE, "--quality", "0.8", "--out", str(out))
    assert (made["tiers"], made["between"]) == (3, [MIDDLE])
    (part,) = made["parts"]
    assert len(part["shares"]) == 3
    assert sum(part["shares"]) == pytest.approx(1)
    assert part["quality"] >= made["promised_quality"]
    assert load(out, 3).tiers == 3


def test_a_budget_counts_each_of_three_tiers(graded: Path) -> None:
    words = ("calibrate", str(graded), *BOTH, *THREE, "--cost", "1", "--prices")
    by_hand, by_file = told(*words, "0.1,0.6,2.1"), told(*words, "columns")
    assert by_hand["cost"] == pytest.approx(by_file["cost"])
    shares = by_hand["parts"][0]["shares"]
    assert by_hand["cost"] == pytest.approx(0.1 * shares[0] + 0.6 * shares[1] + 2.1 * shares[2])
    assert router(*words, "0.1,2.1").exit_code == 2


def test_in_a_terminal_every_tier_has_its_share_and_its_cut_off(graded: Path) -> None:
    done = router("calibrate", str(graded), *BOTH, *THREE, "--quality", "0.8")
    assert re.search(r"Calls of each tier: (\d+\.\d%, ){2}\d+\.\d%\. Their cut-offs: ", done.output)
    done = router("compare", str(graded), *BOTH, *THREE)
    assert "calls of each tier" in done.output


def test_strategies_stand_side_by_side_for_three_tiers(graded: Path) -> None:
    for line in told("compare", str(graded), *BOTH, *THREE)["strategies"]:
        assert len(line["shares"]) == 3
        assert sum(line["shares"]) == pytest.approx(1)


def test_cut_offs_for_other_tiers_than_the_file_has_are_refused(
    graded: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load((ROOT / "config" / "four-tiers.yaml").read_text())
    content["router"]["threshold"] = [0.1, 0.2, 0.3]
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(content))
    words = refused("compare", str(graded), *BOTH, "--config", str(config))
    assert "3 cut-offs, for 4 tiers" in words
    assert "--between" in words


def test_a_budget_is_a_share_of_strong_calls(graded: Path) -> None:
    made = told("calibrate", str(graded), *BOTH, "--cost", "0.3")
    assert made["cost"] <= 0.3
    assert made["promised_quality"] is None


def test_a_budget_is_money_where_prices_are_told(graded: Path) -> None:
    by_hand = told("calibrate", str(graded), *BOTH, "--cost", "1", "--prices", "0.1,2.1")
    by_file = told("calibrate", str(graded), *BOTH, "--cost", "1", "--prices", "columns")
    assert by_hand["cost"] == pytest.approx(by_file["cost"])
    assert by_hand["cost"] <= 1
    assert by_hand["cost"] == pytest.approx(0.1 + 2 * by_hand["strong_share"])


@pytest.mark.parametrize(
    "words",
    [
        ("--quality", "0.9", "--cost", "0.5"),
        ("--quality", "1.5"),
        ("--delta", "0"),
        ("--method", "naive"),
        ("--prices", "1,2"),
        ("--cost", "7"),
        ("--cost", "7", "--prices", "cheap"),
        ("--cost", "0.5", "--by", "subject"),
        ("--plot", "curve.gif"),
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_are_wrong_usage(graded: Path, words: tuple[str, ...]) -> None:
    assert hansom("router", "calibrate", graded, *BOTH, *words).code == 2


@pytest.mark.parametrize("command", ["calibrate", "evaluate", "compare"])
def test_a_model_that_is_not_there_is_named_with_those_that_are(graded: Path, command: str) -> None:
    words = refused(command, str(graded), "--weak", "org/tiny", "--strong", STRONG)
    assert "org/tiny" in words
    assert WEAK in words
    assert STRONG in words


@pytest.mark.parametrize("command", ["calibrate", "evaluate", "compare"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, command: str) -> None:
    path = str(tmp_path / "nowhere.parquet")
    assert path in refused(command, path, *BOTH)


def test_a_column_that_is_not_there_is_named_with_those_that_are(graded: Path) -> None:
    words = refused("calibrate", str(graded), *BOTH, "--by", "topic")
    assert "'topic'" in words
    assert "subject" in words


def test_scores_outside_0_to_1_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "percent.parquet"
    columns = {"prompt": ["a"], f"score::{WEAK}": [80.0], f"score::{STRONG}": [90.0]}
    parquet.write_table(pa.table(columns), path)
    assert "[0, 1]" in refused("compare", str(path), *BOTH)


def test_too_few_rows_say_how_many_are_needed(graded: Path, tmp_path: Path) -> None:
    path = tmp_path / "few.parquet"
    parquet.write_table(parquet.read_table(graded).slice(1, 50), path)
    assert f"{LEAST_ROWS} are the least" in refused("calibrate", str(path), *BOTH)


def test_weights_that_are_not_there_are_named(graded: Path, tmp_path: Path) -> None:
    words = refused("compare", str(graded), *BOTH, "--weights", str(tmp_path / "v0"))
    assert str(tmp_path / "v0") in words


def test_an_exam_tells_each_measure_with_its_interval(graded: Path) -> None:
    marks = told("evaluate", str(graded), *BOTH)
    assert marks["apgr_low"] <= marks["apgr"] <= marks["apgr_high"]
    assert "95 % interval" in router("evaluate", str(graded), *BOTH, "--adapt", "50").stdout


def test_the_same_seed_adapts_to_the_same_rows(graded: Path) -> None:
    words = ("evaluate", str(graded), *BOTH, "--adapt", "50", "--seed")
    assert told(*words, "1") == told(*words, "1") != told(*words, "2")


def test_strategies_stand_side_by_side(graded: Path) -> None:
    lines = {line["strategy"]: line for line in told("compare", str(graded), *BOTH)["strategies"]}
    assert list(lines) == ["learned", "heuristic", "random", "always_small", "always_large"]
    assert lines["always_large"]["strong_share"] == 1.0
    assert lines["learned"]["apgr"]["low"] <= lines["learned"]["apgr"]["value"]
    assert "always_large" in router("compare", str(graded), *BOTH).stdout


def test_an_explanation_agrees_with_the_decision() -> None:
    proof = told("explain", "Prove that the square root of 2 is irrational.")
    assert (proof["tier"], proof["code"]) == ("large", "hard")
    assert proof["score"]["need"] >= proof["threshold"]
    assert {one["name"] for one in proof["features"]} >= {"kind_proof"}
    nearest = proof["nearest_prompts"]
    assert [one["cosine"] for one in nearest] == proof["cosines"]
    assert all(one["source"] and one["prompt"] for one in nearest)
    assert told("explain", "What is the capital of France?")["tier"] == "small"


def test_a_prompt_can_come_through_a_pipe() -> None:
    prompt = "Prove that the square root of 2 is irrational."
    piped = router("explain", "-", "--json", read=prompt).stdout
    assert json.loads(piped) == told("explain", prompt)


def test_an_explanation_in_a_terminal_names_features_and_the_nearest_prompts() -> None:
    lines = (DEFAULT_ARTEFACT / SAMPLE_FILE).read_text(encoding="utf-8").splitlines()
    ours = [one["prompt"] for one in map(json.loads, lines) if one["source"] == "own"]
    known = min(ours, key=lambda text: (abs(len(text) - 30), text))
    shown = router("explain", known).stdout
    for words in ("kind_proof", "all of the embedding", "P(small right)"):
        assert words in " ".join(shown.split())
    assert re.search(rf"1\.00 +│ own +│ {re.escape(known)} ", shown)


def test_marks_in_a_training_prompt_are_shown_as_they_are(tmp_path: Path) -> None:
    shutil.copytree(DEFAULT_ARTEFACT, folder := tmp_path / "marked")
    rows = len(Scorer.load(folder).weights.sample)
    sample = pack_sample([TrainingPrompt("own", "[asy]draw();[/asy] [red]")] * rows)
    (folder / SAMPLE_FILE).write_bytes(sample)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest[SAMPLE_SHA256] = hashlib.sha256(sample).hexdigest()
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    assert "[asy]draw();[/asy] [red]" in router("explain", "Hello", "--weights", str(folder)).stdout


def test_weights_that_have_not_kept_their_prompts_explain_without_them() -> None:
    old = ("explain", "Prove that 2 + 2 = 4.", "--weights", "router/weights/v1")
    assert told(*old)["nearest_prompts"] is None
    assert "has not kept the prompts" in " ".join(router(*old).stdout.split())


def test_a_sample_that_was_changed_is_refused_by_its_folder(tmp_path: Path) -> None:
    shutil.copytree(DEFAULT_ARTEFACT, folder := tmp_path / "changed")
    (folder / SAMPLE_FILE).write_text("")
    words = refused("explain", "Hello", "--weights", str(folder))
    assert str(folder) in words and SAMPLE_FILE in words


def test_training_without_its_files_says_which_are_missing(tmp_path: Path) -> None:
    words = refused("train", str(tmp_path), "--out", str(tmp_path / "v2"))
    assert "pairs.json" in words
    (tmp_path / "pairs.json").write_text("{}")
    assert str(tmp_path) in refused("train", str(tmp_path), "--out", str(tmp_path / "v2"))
    assert not (tmp_path / "v2").exists()
