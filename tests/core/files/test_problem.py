"""A file that cannot be read is one sentence that says which and why."""

import os
from pathlib import Path

import pytest

from core.errors import UnreadableFile
from core.files import text_file
from core.files.problem import missing, unreadable


def test_each_reason_has_its_own_words(tmp_path: Path) -> None:
    gone, text = tmp_path / "gone", tmp_path / "text"
    text.write_bytes(b"ok\xff")
    for path, words in (
        (gone, f"no such file: {gone}"),
        (tmp_path, f"{tmp_path} is a folder, not a file."),
        (
            text,
            f"{text} cannot be read: line 1: the byte 0xff is not UTF-8; save the file as UTF-8.",
        ),
        (text / "x", f"no such file: {text / 'x'} (a part of it is a file, not a folder)"),
    ):
        with pytest.raises(UnreadableFile) as caught:
            text_file.read(path)
        assert caught.value.message == words
    assert unreadable(gone, PermissionError(13, "x")).message == f"no permission to read {gone}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(UnreadableFile, match="no permission to read"):
        text_file.read(path)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("name"), "it has no `name`"),
        (FileNotFoundError(2, "No such file", "x/manifest.json"), "there is no x/manifest.json"),
        (TypeError("'int' object is not subscriptable"), "a value is of another kind"),
        (ValueError("bad number"), "bad number"),
        (ValueError(), "it is of another form"),
    ],
)
def test_what_a_file_of_another_form_lacks_is_said_in_words(error: Exception, words: str) -> None:
    assert missing(error).startswith(words)
