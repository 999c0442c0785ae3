"""The error tree: bodies as OpenAI's clients read them, and a safe journey between processes."""

import inspect
import pickle
import re
from pathlib import Path

import pytest

from core import errors
from core.errors import HansomError, SettingsError, UnreadableFile

TREE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, HansomError) and not issubclass(kind, SettingsError)
]


@pytest.mark.parametrize("kind", TREE)
def test_an_error_survives_pickling_with_all_it_carries(kind: type[HansomError]) -> None:
    error = kind("Too bad.", param="model", code="why", retry_after_s=3)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "Too bad."
    assert (again.body(), again.retry_after_s) == (error.body(), 3)


def test_a_settings_error_survives_pickling() -> None:
    error = SettingsError(Path("serve.yaml"), ["server.port: too low", "tiers: none"])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is SettingsError
    assert str(again) == str(error)


def test_an_unreadable_file_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(UnreadableFile("no such file: x.yaml")))
    assert type(again) is UnreadableFile
    assert str(again) == again.message == "no such file: x.yaml"


@pytest.mark.parametrize("kind", TREE)
def test_a_body_has_openais_four_fields_and_the_clients_own_type(kind: type[HansomError]) -> None:
    body = kind("Too bad.", param="model", code="why").body()
    assert body == {
        "error": {"message": "Too bad.", "type": kind.kind, "param": "model", "code": "why"}
    }
    blames_caller = 400 <= kind.status < 500
    assert (kind.kind == "server_error") is not blames_caller


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +(\d{3}|\()", errors.__doc__ or ""))
    assert drawn.pop("SettingsError") == drawn.pop("UnreadableFile") == "("
    assert drawn == {kind.__name__: str(kind.status) for kind in TREE if kind is not HansomError}
