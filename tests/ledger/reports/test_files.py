"""A report's rows as CSV and Parquet: groups without a total, always the same columns."""

import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq

from core.call import Usage
from ledger.reports.files import COLUMNS, as_csv, as_parquet
from ledger.reports.rows import Grouped, ReportRow, Savings, Spread


def row(group: str, requests: int) -> ReportRow:
    return ReportRow(
        group, requests, requests, requests, Usage(10, 2, 3), 1, 40, 0, 0, 0, 0, 0,
        ttft=Spread(0.1, 0.2, 0.3),
    )  # fmt: skip


GROUPED = Grouped("tenant", [row("acme, inc", 4), row("zeta", 0)], row("all", 4), Savings(0, 0))


def read(written: bytes) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(written.decode(), newline=""))]


def test_csv_has_a_row_for_each_group_and_no_total() -> None:
    found = read(as_csv(GROUPED))
    assert [(one["group"], one["requests"]) for one in found] == [("acme, inc", "4"), ("zeta", "0")]
    assert found[0]["cost_per_success_usd_micros"] == "10.0"
    assert found[1]["cost_per_success_usd_micros"] == ""
    assert found[0]["total_p50_s"] == ""


def test_csv_has_no_group_that_a_spreadsheet_runs() -> None:
    (found,) = read(as_csv(Grouped("team", [row("=1+1", 4)], row("all", 4), Savings(0, 0))))
    assert found["group"] == "'=1+1"


def test_without_groups_the_row_is_that_of_all_requests() -> None:
    found = read(as_csv(Grouped("", [], row("all", 4), Savings(0, 0))))
    assert [one["group"] for one in found] == ["all"]


def test_parquet_has_the_same_rows_with_the_same_types_even_when_there_are_none() -> None:
    table = pq.read_table(io.BytesIO(as_parquet(GROUPED)))
    assert table.to_pylist() == [one.as_dict() for one in GROUPED.rows]
    empty = pq.read_table(io.BytesIO(as_parquet(Grouped("tag", [], row("all", 0), Savings(0, 0)))))
    assert empty.schema == table.schema
    assert tuple(table.schema.names) == COLUMNS
    assert table.schema.field("cost_usd_micros").type == pa.int64()
