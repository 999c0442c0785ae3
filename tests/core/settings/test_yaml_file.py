"""A file that is no YAML mapping is told as such, and a URL's password never is."""

from pathlib import Path

import pytest

from core.errors import SettingsError
from core.settings.base import Frozen
from core.settings.yaml_file import load, read


class Few(Frozen):
    count: int


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[1, 2]", "must be a mapping with the key `count`"),
        (b"", "is empty: it must be a mapping with the key `count`"),
        (b"count: [", "is not YAML: line 1, column 9: "),
        (b"count: \xff", "line 1: the byte 0xff is not UTF-8"),
        (b"count: 1\ncount: 2", "is not YAML: line 2, column 1: the key `count` stands twice"),
        (b"count: \x00", "line 1: it has a NUL byte"),
        (b"count: 2026-13-45", "is not YAML: month must be in 1..12"),
        (b"[" * 5000, "is not YAML: nested too deeply"),
        (b"other: 1", "count: must be given"),
        (b"count: postgresql://me:secret@db/x", "(got 'postgresql://***@db/x')"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "few.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read(path, Few, "count")
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_good_file_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "few.yaml"
    path.write_text("count: 3")
    assert read(path, Few, "count") == Few(count=3)


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029"])
def test_a_line_ends_at_a_line_feed_only(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "few.yaml"
    path.write_text(f"# a remark{mark}count: 4\ncount: 3\nname: 'a{mark}b'", encoding="utf-8")
    assert load(path) == {"count": 3, "name": f"a{mark}b"}
