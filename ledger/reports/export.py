"""Export all lines of the ledger as CSV, JSON lines or Parquet.

Promises: every field of every line of the span, in the order they were committed, in batches that
fit in memory. A file is whole or not there: it is written beside its name and then renamed.
In CSV an absent value is an empty cell, `tags` are joined by commas, and text that a spreadsheet
would run as a formula begins with an apostrophe (`core.files.spreadsheet`).
Not covered: reading a file back (`LedgerLine.from_bytes` reads a line of JSON).
"""

import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import BigInteger, Boolean, Double, Integer, select

from core.errors import HansomError
from core.files.spreadsheet import cell
from ledger.path.schema import LINES
from ledger.path.sql_store import SqlStore, line_of
from ledger.reports.gather import lines_of
from ledger.reports.span import TimeSpan

FORMATS = ("csv", "jsonl", "parquet")
FIELDS = tuple(column.name for column in LINES.columns if column.name != "seq")
_BATCH = 2_000
_ARROW = {BigInteger: pa.int64(), Integer: pa.int32(), Double: pa.float64(), Boolean: pa.bool_()}
_Row = dict[str, Any]


def export(store: SqlStore, span: TimeSpan, form: str, out: Path | None) -> int:
    """Write the lines of `span` as `form` to `out`, or to stdout; returns how many.

    Raises `HansomError` for a file that cannot be written, or Parquet to stdout.
    """
    write = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[form]
    if out is None:
        if form == "parquet":
            raise HansomError("Parquet is not written to stdout: name a file with --out.")
        return write(_batches(store, span), sys.stdout.buffer)
    with replacing(out) as file:
        return write(_batches(store, span), file)


@contextmanager
def replacing(out: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `out` at the end of the block, unless that raises.

    Raises `HansomError` when it cannot be written.
    """
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(out)
    except OSError as error:
        raise HansomError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _batches(store: SqlStore, span: TimeSpan) -> Iterator[list[_Row]]:
    query = select(LINES).where(lines_of(span)).order_by(LINES.c.seq)
    with store.connect() as connection:
        reading = connection.execute(query, execution_options={"yield_per": _BATCH})
        for rows in reading.mappings().partitions(_BATCH):
            yield [dict(row) for row in rows]


def _csv(batches: Iterator[list[_Row]], file: IO[bytes]) -> int:
    # Lines end as in RFC 4180: with a bare \n Python would not quote a field that has a \r.
    writer = csv.writer(_Encoded(file.write))
    writer.writerow(FIELDS)
    count = 0
    for rows in batches:
        writer.writerows([_cell(row[name]) for name in FIELDS] for row in rows)
        count += len(rows)
    return count


def _cell(value: object) -> object:
    """Write a value as in a line's JSON: `true`, and floats with all digits they need."""
    return ("true" if value else "false") if isinstance(value, bool) else cell(value)


def _jsonl(batches: Iterator[list[_Row]], file: IO[bytes]) -> int:
    count = 0
    for rows in batches:
        file.write(b"".join(line_of(row).to_bytes() + b"\n" for row in rows))
        count += len(rows)
    return count


def _parquet(batches: Iterator[list[_Row]], file: IO[bytes]) -> int:
    schema = pa.schema([_arrow(name) for name in FIELDS])
    count = 0
    with pq.ParquetWriter(file, schema) as writer:
        for rows in batches:
            told = [{**row, "tags": row["tags"].split(",") if row["tags"] else []} for row in rows]
            writer.write_batch(pa.RecordBatch.from_pylist(told, schema))
            count += len(rows)
    return count


def _arrow(name: str) -> pa.Field:
    column = LINES.columns[name]
    kind = pa.list_(pa.string()) if name == "tags" else _ARROW.get(type(column.type), pa.string())
    return pa.field(name, kind, nullable=bool(column.nullable))


class _Encoded:
    """The text file that `csv` wants, over one of bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def write(self, text: str) -> object:
        """Write UTF-8."""
        return self._write(text.encode())
