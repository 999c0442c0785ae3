"""A promise is read as `hansom router calibrate --out` wrote it, or refused with the reason."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import SettingsError
from router.policy.promise import Promise, PromisePart, load
from router.tuning.guarantee import promise
from router.tuning.points import Rows

TOLD: dict[str, Any] = {
    "router_version": "v9",
    "distance_limit": 0.9,
    "parts": [{"threshold": 0.2, "covers": ["a"]}, {"threshold": 0.4, "covers": []}],
}


def written(folder: Path, told: object) -> Path:
    file = folder / "cut-off.json"
    file.write_text(told if isinstance(told, str) else json.dumps(told))
    return file


def test_a_promise_for_another_number_of_tiers_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, TOLD)
    with pytest.raises(SettingsError, match="made for 2 tiers, and the settings have 4") as caught:
        load(path, 4)
    assert "router.promise" in caught.value.message
    assert "--between" in caught.value.message
    assert load(written(tmp_path, TOLD | {"tiers": 4}), 4).tiers == 4
    with pytest.raises(SettingsError, match="made for 4 tiers"):
        load(path, 2)


def test_what_is_needed_to_decide_is_read(tmp_path: Path) -> None:
    found = load(written(tmp_path, TOLD), 2)
    assert found == Promise((PromisePart(0.2, ("a",)), PromisePart(0.4)), 0.9, "v9")
    assert (found.cut_off("a"), found.cut_off("b"), found.cut_off("")) == (0.2, 0.4, 0.4)
    assert found.beyond(0.9, "a", "v9+20") == ""
    assert "beyond" in found.beyond(0.91, "a", "v9")


def test_a_promise_of_other_weights_is_for_no_call(tmp_path: Path) -> None:
    found = load(written(tmp_path, TOLD), 2)
    assert found.beyond(0.1, "a", "v9-surface") == ""
    assert "weights v9, not v10" in found.beyond(0.1, "a", "v10")


def test_a_promise_decides_as_the_guarantee_that_it_was_made_from(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    need = draw.uniform(size=2000)
    rows = Rows(
        score=need,
        weak=(draw.uniform(size=2000) > need).astype(float),
        strong=np.ones(2000),
        distance=draw.uniform(size=2000),
    )
    made = promise(rows, 0.9)
    found = load(written(tmp_path, {"router_version": "v9", **asdict(made)}), 2)
    for score, distance in draw.uniform(size=(200, 2)):
        strong = bool(found.beyond(distance, "", "v9")) or score >= found.cut_off("")
        assert strong == made.to_strong(score, distance)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("not json", "is not what"),
        ({}, "is not what"),
        ([], "is not what"),
        (TOLD | {"parts": [{"threshold": "x", "covers": []}]}, "is not what"),
        (TOLD | {"parts": []}, "has no cut-offs"),
    ],
)
def test_what_is_no_promise_is_refused_with_the_reason(
    tmp_path: Path, told: object, why: str
) -> None:
    with pytest.raises(SettingsError, match=why):
        load(written(tmp_path, told), 2)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        load(tmp_path / "nowhere.json", 2)
