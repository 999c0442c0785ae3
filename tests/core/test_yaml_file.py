"""A file that is no YAML mapping is told as such, and a URL's password never is."""

from pathlib import Path

import pytest

from core.errors import SettingsError
from core.frozen import Frozen
from core.yaml_file import read


class Few(Frozen):
    count: int


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[1, 2]", "must be a mapping with the key `count`"),
        (b"", "must be a mapping with the key `count`"),
        (b"count: [", "is not YAML: "),
        (b"count: \xff", "cannot be read: not UTF-8"),
        (b"other: 1", "count: Field required"),
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
