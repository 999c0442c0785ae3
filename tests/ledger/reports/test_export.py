"""What is exported reads back as the lines, on both databases."""

import csv
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.call import Usage
from core.errors import HansomError
from core.ledger_line import Kind, LedgerLine, Outcome
from ledger.path.sql_store import SqlStore
from ledger.reports.export import FIELDS, FORMATS, export, replacing
from ledger.reports.span import TimeSpan
from tests.core.files.test_spreadsheet import text
from tests.ledger.lines import line

USAGE = ("fresh_input_tokens", "cached_input_tokens", "output_tokens")
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
TAGS = st.lists(st.text("abcÄ-_", min_size=1, max_size=4), max_size=3).map(tuple)
SECONDS = st.floats(0, 1e6)


@st.composite
def any_line(draw: st.DrawFn) -> LedgerLine:
    return LedgerLine(
        call_id=draw(st.uuids()).hex,
        request_id=draw(TEXTS),
        attempt=draw(st.integers(0, 2**31 - 1)),
        kind=draw(st.sampled_from(Kind)),
        tenant="acme",
        endpoint="completions",
        requested=draw(TEXTS),
        tier="small",
        model=draw(TEXTS),
        team=draw(TEXTS),
        tags=draw(TAGS),
        route_reason=draw(TEXTS),
        difficulty=draw(st.none() | st.floats(0, 1)),
        usage=Usage(*draw(st.tuples(*[st.integers(0, 2**40)] * 3))),
        undelivered_tokens=draw(st.integers(0, 2**40)),
        cost_usd_micros=draw(st.integers(-(2**60), 2**60)),
        saved_usd_micros=draw(st.integers(-(2**60), 2**60)),
        stream=draw(st.booleans()),
        ttft_s=draw(st.none() | SECONDS),
        total_s=draw(SECONDS),
        outcome=draw(st.sampled_from(Outcome)),
        error_code=draw(st.none() | TEXTS.filter(bool)),
        cache="miss",
        created_s=draw(SECONDS),
        estimated_tokens=draw(st.booleans()),
    )


def from_jsonl(path: Path) -> list[LedgerLine]:
    return [LedgerLine.from_bytes(raw) for raw in path.read_bytes().split(b"\n")[:-1]]


def from_csv(path: Path) -> list[LedgerLine]:
    with path.open(newline="", encoding="utf-8") as file:
        return [from_flat(_cells(row)) for row in csv.DictReader(file)]


def _cells(row: dict[str, str]) -> dict[str, Any]:
    absent = ("difficulty", "queue_s", "ttft_s", "tpot_s", "error_code")
    told: dict[str, Any] = {
        name: None if name in absent and not cell else text(cell) for name, cell in row.items()
    }
    told["tags"] = told["tags"].split(",") if told["tags"] else []
    return told


def from_parquet(path: Path) -> list[LedgerLine]:
    return [from_flat(row) for row in pq.read_table(path).to_pylist()]


def from_flat(row: dict[str, Any]) -> LedgerLine:
    usage = {name: row[name] for name in USAGE}
    return LedgerLine.from_fields({**row, "usage": usage})


READ: dict[str, Callable[[Path], list[LedgerLine]]] = {
    "csv": from_csv,
    "jsonl": from_jsonl,
    "parquet": from_parquet,
}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(any_line(), max_size=5, unique_by=lambda one: one.identity))
def test_an_export_reads_back_as_the_lines(
    store: SqlStore, tmp_path: Path, lines: list[LedgerLine]
) -> None:
    mark = uuid.uuid4().hex  # the store has the lines of earlier examples, too
    mine = [replace(one, tenant=mark, call_id=f"{mark}{one.call_id}") for one in lines]
    store.insert(mine)
    for form in FORMATS:
        out = tmp_path / f"lines.{form}"
        assert export(store, TimeSpan(tenant=mark), form, out) == len(mine)
        assert READ[form](out) == mine, form


@pytest.mark.parametrize("form", FORMATS)
def test_more_lines_than_a_batch_are_all_there_in_order(
    store: SqlStore, tmp_path: Path, form: str
) -> None:
    store.insert([line(at, created_s=float(at)) for at in range(5_000)])
    out = tmp_path / "lines"
    assert export(store, TimeSpan(since_s=500.0), form, out) == 4_500
    assert [one.created_s for one in READ[form](out)] == [float(at) for at in range(500, 5_000)]


def test_every_column_of_the_line_is_in_the_file() -> None:
    assert set(FIELDS) == {*LedgerLine.__struct_fields__, *USAGE} - {"usage"}


def test_csv_has_no_text_that_a_spreadsheet_runs_and_numbers_are_numbers(
    store: SqlStore, tmp_path: Path
) -> None:
    hostile = '=HYPERLINK("http://127.0.0.1/?"&A1)'
    store.insert([line(1, team=hostile, prompt_version="@x", saved_usd_micros=-5)])
    out = tmp_path / "lines.csv"
    export(store, TimeSpan(), "csv", out)
    with out.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["team"], row["prompt_version"]) == (f"'{hostile}", "'@x")
    assert row["saved_usd_micros"] == "-5"


def test_only_one_tenants_lines_are_exported(store: SqlStore, tmp_path: Path) -> None:
    store.insert([line(1), line(2, tenant="zeta")])
    assert export(store, TimeSpan(tenant="zeta"), "jsonl", tmp_path / "out") == 1
    assert [one.tenant for one in from_jsonl(tmp_path / "out")] == ["zeta"]


def test_a_file_that_fails_on_the_way_leaves_the_old_one_and_no_other(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(RuntimeError), replacing(out) as file:
        file.write(b"half")
        raise RuntimeError
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(HansomError, match=r"file/out.csv cannot be written: Not a directory"),
        replacing(tmp_path / "file" / "out.csv"),
    ):
        pass


def test_parquet_is_not_for_a_terminal(store: SqlStore) -> None:
    with pytest.raises(HansomError, match="name a file with --out"):
        export(store, TimeSpan(), "parquet", None)
