"""The router's settings: what a cascade accepts, and how it tells what it does not."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import SettingsError
from core.settings.load import load
from core.settings.router import Cascade, RouterSettings
from tests.core.settings.test_load import changed, write


def test_streams_are_routed_by_the_score_unless_the_settings_say_otherwise() -> None:
    assert (Cascade().streams, Cascade().prefix_tokens) == ("route", 16)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"streams": "prefix", "logprobs": False}, "logprobs must be true"),
        ({"streams": "never"}, "'route', 'prefix' or 'hold'"),
        ({"prefix_tokens": 0}, "greater than or equal to 1"),
        ({"prefix_tokens": 257}, "less than or equal to 256"),
    ],
)
def test_a_cascade_that_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Cascade(**given)


def test_streams_that_are_held_whole_need_no_log_probabilities() -> None:
    assert Cascade(streams="hold", logprobs=False).streams == "hold"


def test_a_setting_that_is_gone_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, changed("router.cascade.hold_streams", True))
    with pytest.raises(SettingsError, match=r"router\.cascade\.hold_streams"):
        load(path)


@pytest.mark.parametrize(
    ("field", "given", "words"),
    [
        ("router.threshold", [0.1, 0.2], "router.threshold needs 0 cut-offs, .* and has 2"),
        (
            "router.arms",
            [{"name": "b", "percent": 5, "strategy": "learned", "threshold": [0.2]}],
            r"router.arms \(b\) threshold needs 0",
        ),
        (
            "router.tenants",
            {"acme": {"strategy": "learned", "threshold": [0.2]}},
            "router.tenants.acme.threshold needs 0",
        ),
    ],
)
def test_cut_offs_are_one_fewer_than_tiers(
    tmp_path: Path, field: str, given: Any, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        load(write(tmp_path, changed(field, given)))
    assert load(write(tmp_path, changed("router.threshold", []))).router.threshold == ()


@pytest.mark.parametrize("given", [(0.2, 0.2), (0.3, 0.1)])
def test_cut_offs_ascend_so_that_every_tier_is_reached(given: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must ascend"):
        RouterSettings(threshold=given).check_cut_offs(3)
    RouterSettings(threshold=(0.1, 0.2)).check_cut_offs(3)


@pytest.mark.parametrize("given", [1.5, (0.1, 1.5), "much"])
def test_a_cut_off_beyond_the_scores_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        RouterSettings(threshold=given)
