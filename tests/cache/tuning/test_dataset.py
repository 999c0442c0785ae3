"""Files of pairs, streams and probes: read as what they are, refused with what they hold."""

import gzip
import json
from pathlib import Path

import pytest

from cache.tuning.dataset import Pair, Probe, Request, WrongFile, load
from core.errors import HansomError

PAIR = {"id": "1", "a": "one", "b": "two", "label": 1, "family": "f", "group": "g"}
REQUEST = {"id": "1", "text": "one", "answer": "x"}
SIDE = {"tenant": "t1", "request": {"model": "m", "messages": []}}
PROBE = {"id": "1", "family": "f", "cached": SIDE, "query": SIDE, "expect": "miss"}


def written(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def test_each_kind_is_read(tmp_path: Path):
    assert load(written(tmp_path / "a", PAIR)) == [Pair("one", "two", 1, "f", "g")]
    assert load(written(tmp_path / "b", REQUEST)) == [Request("one", "x")]
    (probe,) = load(written(tmp_path / "c", PROBE))
    assert isinstance(probe, Probe)
    assert (probe.tenants, probe.hit) == (("t1", "t1"), False)


def test_gzip_is_told_by_its_bytes(tmp_path: Path):
    path = tmp_path / "no_ending"
    path.write_bytes(gzip.compress(json.dumps(PAIR).encode()))
    assert len(load(path)) == 1


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no lines"),
        ([{"prompt": "x"}], "prompt"),
        ([PAIR, {**PAIR, "label": 2}], "row 2"),
        ([PAIR, {"a": "one"}], "row 2"),
        ([{**PAIR, "a": 3}], "row 1"),
        ([{**PROBE, "expect": "maybe"}], "row 1"),
        ([{**PROBE, "query": "x"}], "row 1"),
        ([[1]], "line 1"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, rows: list[object], says: str):
    with pytest.raises(WrongFile, match=says):
        load(written(tmp_path / "x", *rows))


@pytest.mark.parametrize("raw", [b"{", b"\x1f\x8b\x08broken", b"\xff\xfe\x00"])
def test_broken_bytes_are_refused(tmp_path: Path, raw: bytes):
    path = tmp_path / "x"
    path.write_bytes(raw)
    with pytest.raises(HansomError):
        load(path)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(HansomError, match=r"no such file: .*none"):
        load(tmp_path / "none")
