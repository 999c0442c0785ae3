"""Read a table from a Parquet or CSV file.

Promises: a file that is missing, or is neither, raises `HansomError` with its name and the reason.
CSV is what ends in `.csv`: UTF-8 with a header line, and text in quotes may hold line ends.
Not covered: what the columns mean; the caller checks names and types.
"""

from collections.abc import Collection, Sequence
from io import BytesIO
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from core.errors import HansomError
from core.files import text_file

# Prompts have line ends, which pyarrow would else take for the end of a row.
_PARSE = csv.ParseOptions(newlines_in_values=True)


def read_table(path: Path, only: Collection[str] = ()) -> pa.Table:
    """All columns of the file, or those of `only` that it has; raises `HansomError`."""
    if path.is_dir():
        raise HansomError(f"{path} is a folder, not a file.")
    if not path.is_file():
        raise HansomError(f"no such file: {path}")
    try:
        if path.suffix == ".csv":
            table = csv.read_csv(BytesIO(text_file.read(path).encode()), parse_options=_PARSE)
            return table.select(_kept(table.column_names, only))
        return parquet.read_table(path, columns=_kept(parquet.read_schema(path).names, only))
    except (OSError, pa.ArrowException) as error:
        raise HansomError(f"{path} is no readable parquet or CSV file: {error}") from error


def _kept(names: Sequence[str], only: Collection[str]) -> list[str]:
    return [name for name in names if not only or name in only]
