"""Tables from files: Parquet and CSV read alike, and everything else is refused in words."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from core.errors import HansomError
from core.files.table_file import read_table

TABLE = pa.table({"prompt": ["one\ntwo", 'a "b", c'], "score": [0, 1]})


@pytest.mark.parametrize(
    ("name", "write"), [("t.csv", csv.write_csv), ("t.parquet", parquet.write_table)]
)
def test_both_kinds_are_read_alike_with_line_ends_and_quotes_in_text(tmp_path: Path, name, write):
    write(TABLE, tmp_path / name)
    assert read_table(tmp_path / name).equals(TABLE)
    assert read_table(tmp_path / name, ("score", "none")).column_names == ["score"]


def test_a_byte_order_mark_belongs_to_no_name(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfprompt,score\nhi,1\n")
    assert read_table(tmp_path / "t.csv").column_names == ["prompt", "score"]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t"])
def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path, name):
    with pytest.raises(HansomError, match=f"no such file: .*{name}"):
        read_table(tmp_path / name)


def test_a_folder_is_said_to_be_one(tmp_path: Path):
    with pytest.raises(HansomError, match="is a folder, not a file"):
        read_table(tmp_path)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("content", [b"", b"a,b\n1\n", b"\xff\xfe\x00"])
def test_a_file_of_another_kind_is_refused_with_its_name(tmp_path: Path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        HansomError, match=f"{name} (is no readable parquet or CSV file|cannot be read)"
    ):
        read_table(tmp_path / name)
