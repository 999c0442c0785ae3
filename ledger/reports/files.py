"""Write a report's rows as CSV or Parquet.

Promises: one row for each group, or the one of all requests where nothing is grouped; no total
stands beside groups, so that a column can be summed. Columns are those of `ReportRow.as_dict`, the
same for every report; an absent value is empty. CSV has no text that a spreadsheet runs as a
formula.
"""

import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq

from core.call import Usage
from core.files.spreadsheet import cell
from ledger.reports.rows import Grouped, ReportRow

COLUMNS = tuple(ReportRow("", 0, 0, 0, Usage(), 0, 0, 0, 0, 0, 0, 0).as_dict())
_TEXT = ("group", "cost_usd")
_COUNTS = (
    "requests", "successes", "attempts", "fresh_input_tokens", "cached_input_tokens",
    "output_tokens", "undelivered_tokens", "cost_usd_micros",
)  # fmt: skip


def as_csv(grouped: Grouped) -> bytes:
    """UTF-8 with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in _rows(grouped))
    return text.getvalue().encode()


def as_parquet(grouped: Grouped) -> bytes:
    """One file; counts are 64-bit integers, shares and times doubles."""
    sink = io.BytesIO()
    schema = pa.schema([_field(name) for name in COLUMNS])
    pq.write_table(pa.Table.from_pylist(_rows(grouped), schema), sink)
    return sink.getvalue()


def _rows(grouped: Grouped) -> list[dict[str, object]]:
    return [row.as_dict() for row in (grouped.rows if grouped.by else [grouped.total])]


def _field(name: str) -> pa.Field:
    kind = pa.string() if name in _TEXT else pa.int64() if name in _COUNTS else pa.float64()
    return pa.field(name, kind)
