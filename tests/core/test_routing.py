"""The router's settings: what a cascade accepts, and how it tells what it does not."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import SettingsError
from core.routing import Cascade
from core.settings import load
from tests.core.test_settings import changed, write


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
