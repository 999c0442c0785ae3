"""Tables fit their width, and no amount or word of theirs is cut or folded."""

import pytest
from rich.box import SQUARE
from rich.console import Console
from rich.table import Column, Table

from cli.tables import show_table, terminal

AMOUNTS = [f"{10**n:,}.000001 USD" for n in range(8)]


def shown(table: Table, width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        show_table(table, console)
    return capture.get().splitlines()


def wide(box: object = SQUARE) -> Table:
    right = [Column(f"amount {n}", justify="right") for n in range(8)]
    table = Table("name", *right, "words", title="A title", box=box, pad_edge=box is not None)  # type: ignore[arg-type]  # any box
    for name in ("first", "second"):
        table.add_row(name, *AMOUNTS, "a long text that says something of this row " * 3)
    return table


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200, 400])
@pytest.mark.parametrize("box", [SQUARE, None])
def test_no_line_is_wider_than_the_terminal_and_every_amount_is_whole(
    width: int, box: object
) -> None:
    lines = shown(wide(box), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert all(text.count(amount) == 2 for amount in AMOUNTS)
    assert "…" not in text


def test_a_table_that_is_too_wide_comes_in_parts_that_repeat_the_first_column() -> None:
    text = "\n".join(shown(wide(), 80))
    assert text.count("first") == text.count("second") == text.count(" name ") > 1
    assert text.count("A title") == 1


def test_a_table_that_fits_is_one_with_rows_of_one_line() -> None:
    table = Table("name", "words")
    table.add_row("first", "some text")
    assert [line for line in shown(table, 80) if "first" in line and "some text" in line]
    assert max(map(len, shown(table, 80))) < 40, "no wider than it needs"


def test_a_word_that_is_wider_than_the_terminal_is_folded() -> None:
    table = Table("key", "value")
    table.add_row("k", "x" * 300)
    assert max(map(len, shown(table, 80))) <= 80
    assert "".join(shown(table, 80)).count("x") == 300


def test_marks_of_style_take_no_room() -> None:
    table = Table("mark", "words")
    table.add_row("[green]ok[/]", "[bold]some[/] text")
    assert max(map(len, shown(table, 80))) < 30


def test_a_pipe_has_80_columns_and_columns_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal().width == 80
    monkeypatch.setenv("COLUMNS", "132")
    assert terminal().width == 132
