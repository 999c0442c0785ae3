"""`docs/ledger.md` has every field, kind, outcome and column of the line, and no other."""

from dataclasses import fields

from core.call import Usage
from core.ledger_line import Kind, LedgerLine, Outcome
from ledger.path.sql_store import LINES
from tests.docs import pages

PAGE = "docs/ledger.md"


def test_every_field_is_told_and_none_that_is_gone():
    in_code = set(LedgerLine.__struct_fields__) - {"usage"}
    in_code |= {f"usage.{item.name}" for item in fields(Usage)}
    assert set(pages.rows(PAGE, "field")) == in_code


def test_the_table_has_the_same_fields():
    told = {name.removeprefix("usage.") for name in pages.rows(PAGE, "field")}
    assert {column.name for column in LINES.columns} - {"seq"} == told


def test_the_identity_is_the_one_that_is_told():
    assert LedgerLine(**_LINE).identity == (_LINE["call_id"], _LINE["attempt"])
    assert "(`call_id`, `attempt`) is its identity" in pages.text(PAGE)


def test_every_kind_is_told_and_none_that_is_gone():
    assert set(pages.rows(PAGE, "kind")) == set(Kind)


def test_every_outcome_is_told_and_none_that_is_gone():
    assert set(pages.rows(PAGE, "outcome")) == set(Outcome)


_LINE = {
    "call_id": "c",
    "request_id": "r",
    "attempt": 2,
    "kind": Kind.ANSWER,
    "tenant": "t",
    "endpoint": "completions",
    "requested": "auto",
    "tier": "small",
    "model": "m",
}
