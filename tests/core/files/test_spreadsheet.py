"""No text of a CSV file is a formula, and every text can be told from its cell again."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.files.spreadsheet import START, cell

_PUT_THERE = re.compile(rf"(^|[;\t\r\n])'(?={START})")
STARTS = "=+-@\t\r\n＝＋－＠"
PIECES = st.sampled_from([*STARTS, "'", ";", ",", " ", '"', "\ufeff", "\xa0", "1", "1.5", "e", "a"])
TEXTS = st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=12)


def text(written: str) -> str:
    """What a cell was made of."""
    return written if is_number(written) else _PUT_THERE.sub(r"\1", written)


def is_number(written: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", written) is not None


@pytest.mark.parametrize(
    "formula",
    [
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "  =1+1",
        "\xa0=1+1",
        "\ufeff=1+1",
        '"=1+1',
        "＝1+1",
        '=HYPERLINK("http://127.0.0.1/?"&A1)',
        "=cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!D2",
        "--1",
        "+a",
        "@",
    ],
)
def test_what_a_spreadsheet_would_run_is_text(formula: str) -> None:
    assert str(cell(formula)).startswith("'")


def test_where_a_semicolon_parts_cells_nothing_behind_one_is_run() -> None:
    assert cell("a;=1+1;b") == "a;'=1+1;b"
    assert cell("a\t=1+1") == "a\t'=1+1"


@pytest.mark.parametrize(
    "plain",
    ["", "acme", "a=b", "a-b", "it's", "x@example.org", "a;b", "key-1f", "2026-11-30", "'x"],
)
def test_other_text_is_as_it_was(plain: str) -> None:
    assert cell(plain) == plain


@pytest.mark.parametrize("number", [-5, 0, 7, -0.5, 1e-9, "-0.000123", "+5", "-1e-05", None, True])
def test_numbers_stay_numbers(number: object) -> None:
    assert cell(number) is number


@given(TEXTS)
def test_a_text_can_be_told_from_its_cell(given_text: str) -> None:
    assert text(str(cell(given_text))) == given_text


@given(TEXTS)
def test_no_cell_begins_as_a_formula_in_any_country(given_text: str) -> None:
    written = str(cell(given_text))
    if not is_number(written):
        for part in re.split(r"[;\t\r\n]", written):
            assert part.lstrip(' "\xa0\ufeff\0')[:1] not in set("=+-@＝＋－＠")
