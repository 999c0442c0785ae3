"""Whatever reads a text file of a user's reads it as `core.files.text_file` does."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoscale.calibrate import profiles
from cache.tuning import dataset
from cli import cache_warm, router_rows
from cli.cluster_file import read_cluster
from cli.plan_capacity_inputs import strong_share
from core.errors import HansomError
from core.settings import load as settings
from core.settings import prices
from core.settings.machines import load_machines
from router.policy import promise
from tests.deployments.serving import ROOT
from tests.packages import SOURCES
from training.router import graded

SPLIT = "a\u2028b\u2029c\x85d"
"""What `str.splitlines` would make four lines of."""

ANSWER = {
    **{"tier": "small", "kind": "sum", "form": "short", "prompt": SPLIT, "answer": SPLIT},
    **{"logprobs": [-0.1], "right": True, "finish": "stop"},
}
PARTS = [{"threshold": 0.5, "covers": []}]
# `splitlines` is for what no user wrote, and for a program's last words.
NOT_OF_USERS = {"cache/language/lexicon.py", "cli/tables.py", "deployments/machine/fetch.py"}


@dataclass(frozen=True)
class Reader:
    """A good file with `SPLIT` in it, and who reads it."""

    name: str
    text: str
    read: Callable[[Path], object]


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def shipped(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8") + f"# {SPLIT}: 1\n"


READERS = [
    Reader("warm.jsonl", as_json({"prompt": SPLIT}), cache_warm.read),
    Reader("pairs.jsonl", as_json({"a": SPLIT, "b": "x", "label": 1}), dataset.load),
    Reader("answers.jsonl", as_json(ANSWER), lambda path: graded.read(path).wrong.tolist()),
    Reader(
        "promise.json",
        as_json({"router_version": SPLIT, "distance_limit": None, "parts": PARTS}),
        lambda path: promise.load(path, tiers=2),
    ),
    Reader("strong.json", as_json({"strong_share": 0.25, "of": SPLIT}), strong_share),
    Reader(
        "rows.csv",
        f'prompt,score::a,score::b\n"{SPLIT}\nmore",1,0\n',
        lambda path: router_rows.read_labelled(path, "a", "b").prompts,
    ),
    Reader("settings.yaml", shipped("config/laptop.yaml"), settings.load),
    Reader("prices.yaml", shipped("config/prices.yaml"), prices.load_prices),
    Reader("machines.yaml", shipped("config/nodes.yaml"), load_machines),
    Reader("profiles.yaml", shipped("config/profiles.yaml"), profiles.load),
    Reader(
        "kuberay.yaml",
        shipped("config/kuberay.yaml"),
        lambda path: read_cluster(path, load_machines(ROOT / "config" / "nodes.yaml")),
    ),
]
EACH = pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])


def result(reader: Reader, folder: Path, raw: bytes) -> object:
    path = folder / reader.name
    path.write_bytes(raw)
    return reader.read(path)


@EACH
def test_other_ends_of_line_are_text(tmp_path: Path, reader: Reader) -> None:
    harmless = reader.text.replace(SPLIT, "abcd")
    known = result(reader, tmp_path, harmless.encode())
    found = result(reader, tmp_path, reader.text.encode())
    assert repr(found).replace(repr(SPLIT)[1:-1], "abcd") == repr(known)


@EACH
def test_a_byte_order_mark_changes_nothing(tmp_path: Path, reader: Reader) -> None:
    known = result(reader, tmp_path, reader.text.encode())
    assert repr(result(reader, tmp_path, reader.text.encode("utf-8-sig"))) == repr(known)


@EACH
@pytest.mark.parametrize(
    ("encoding", "told"), [("utf-16", "line 1: it is UTF-16"), ("latin-1", "is not UTF-8")]
)
def test_another_encoding_is_an_error_that_names_the_line(
    tmp_path: Path, reader: Reader, encoding: str, told: str
) -> None:
    text = reader.text.replace(SPLIT, "caf\u00e9 ")
    with pytest.raises(HansomError) as caught:
        result(reader, tmp_path, text.encode(encoding))
    assert reader.name in caught.value.message
    assert told in caught.value.message
    line = text[: text.index("\u00e9")].count("\n") + 1
    assert f"line {line if encoding == 'latin-1' else 1}: " in caught.value.message


def test_no_reader_splits_text_at_every_end_of_line_of_unicode() -> None:
    folders = set(SOURCES) - {"bench", "training"}
    found = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in (".splitlines(", "iter_lines("))
    }
    assert found == NOT_OF_USERS
