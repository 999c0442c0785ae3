"""Text files as editors and programs write them."""

from pathlib import Path

import pytest

from core.errors import UnreadableFile
from core.files.text_file import lines, read

LONE = ("\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r")


def written(folder: Path, raw: bytes) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("mark", LONE)
def test_a_line_ends_at_a_line_feed_only(mark: str) -> None:
    assert [*lines(f"a{mark}b\nc")] == [(1, f"a{mark}b"), (2, "c")]


def test_lines_of_windows_are_lines_and_blank_ones_are_counted_but_left_out() -> None:
    assert [*lines("a\r\n\r\n \nb\r\n")] == [(1, "a"), (4, "b")]


def test_a_byte_order_mark_is_no_part_of_the_text_and_another_one_stays(tmp_path: Path) -> None:
    assert read(written(tmp_path, b"\xef\xbb\xbfa\xef\xbb\xbf")) == "a\ufeff"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_unicode_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, '{"a": 1}\n'.encode(encoding))
    with pytest.raises(UnreadableFile, match=r"rows\.jsonl .*line 1.*save the file as UTF-8"):
        read(path)


def test_the_line_of_a_byte_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"rows\.jsonl .*line 3: the byte 0xe9 is not UTF-8"):
        read(written(tmp_path, "one\ntwo\nthr\u00e9e".encode("latin-1")))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"no such file: .*none"):
        read(tmp_path / "none")
    with pytest.raises(UnreadableFile, match="is a folder, not a file"):
        read(tmp_path)
