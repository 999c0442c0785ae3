"""Graded answers, read as rows."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.router.graded import GradedRows, logit, read

TOLD = {
    **{"tier": "small", "kind": "sum", "form": "short", "prompt": "What is 2 + 3?"},
    **{"answer": "5", "logprobs": [-0.1], "right": True, "finish": "stop", "second": "6"},
}


def written(path: Path, *changes: dict[str, object]) -> GradedRows:
    path.write_text("\n".join(json.dumps(TOLD | each) for each in changes), encoding="utf-8")
    return read(path)


def test_a_line_is_a_row(tmp_path: Path):
    known = written(tmp_path / "a", {}, {"second": None, "right": False}, {"second": "#### 5"})
    assert known.wrong.tolist() == [0.0, 1.0, 0.0]
    assert known.agrees.tolist() == [-1.0, 0.0, 1.0]
    assert known.kind.tolist() == ["sum short"] * 3
    assert known.logprobs == ((-0.1,),) * 3


def test_broken_off_answers_and_those_without_tokens_are_left_out(tmp_path: Path):
    assert len(written(tmp_path / "a", {}, {"finish": "length"}, {"logprobs": []}).wrong) == 1


@pytest.mark.parametrize("text", ["{}", "no json"])
def test_a_line_of_another_form_is_refused(tmp_path: Path, text: str):
    (tmp_path / "a").write_text(text, encoding="utf-8")
    with pytest.raises((KeyError, ValueError)):
        read(tmp_path / "a")


def test_chosen_rows_keep_every_column(tmp_path: Path):
    known = written(tmp_path / "a", {}, {"tier": "large", "logprobs": [-0.5, -0.6]}, {})
    one = known.at(known.tier == "large")
    assert (one.logprobs, one.tier.tolist()) == (((-0.5, -0.6),), ["large"])
    assert len(one.text) == len(one.agrees) == len(one.wrong) == len(one.kind) == 1


def test_a_prefix_has_features_of_its_own(tmp_path: Path):
    known = written(tmp_path / "a", {"logprobs": [-0.1, -3.0]})
    assert not np.array_equal(known.features(), known.features(1))


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_log_odds_are_finite(probability: float):
    assert np.isfinite(logit(probability))
