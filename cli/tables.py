"""Tables that fit the terminal, and never cut or fold an amount.

Promises: no line is wider than the terminal, `COLUMNS`, or 80 where the output is piped. Text wraps
between words; a table whose words do not fit beside one another is shown in parts, each of which
repeats its first column.
Not covered: a single word that is wider than the terminal is folded.
"""

from collections.abc import Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

_EDGES = 7  # lines and padding of a table with two columns


def terminal() -> Console:
    """Standard output, as wide as the terminal, or 80 columns."""
    return Console()


def show_table(table: Table, on: Console | None = None) -> None:
    """Print a table, in parts where it is too wide."""
    on = on or terminal()
    for part in _parts(table, on.width):
        on.print(part)


def _parts(table: Table, width: int) -> list[Table]:
    """The table with widths that fit, or several with some of its columns each."""
    columns = table.columns
    least = _least_widths(columns, width)
    groups: list[list[int]] = [[]]
    for at in range(len(columns)):
        group = groups[-1] or ([0] if at else [])
        if len(group) > 1 and _width(table, [least[n] for n in (*group, at)]) > width:
            groups.append([0, at])
        else:
            groups[-1] = [*group, at]
    return [_part(table, group, width, first=group is groups[0]) for group in groups]


def _part(table: Table, group: Sequence[int], width: int, *, first: bool) -> Table:
    """Some columns of a table, each at least as wide as its longest word."""
    chosen = [table.columns[at] for at in group]
    least = _least_widths(chosen, width)
    widths = _shared(least, [_most(column) for column in chosen], width - _width(table, least))
    part = Table(
        *(replace(column, _index=n, width=widths[n], no_wrap=False, overflow="fold")
          for n, column in enumerate(chosen)),
        title=table.title if first else None, box=table.box, padding=table.padding,
        show_header=table.show_header, pad_edge=table.pad_edge,
    )  # fmt: skip
    part.rows = table.rows
    return part


def _shared(least: Sequence[int], most: Sequence[int], spare: int) -> list[int]:
    """Widths between the two: what is spare goes, bit by bit, to the column with most lines."""
    widths = list(least)
    for _ in range(max(spare, 0)):
        lacking = max(range(len(widths)), key=lambda n: most[n] / widths[n])
        if most[lacking] <= widths[lacking]:
            break
        widths[lacking] += 1
    return widths


def _width(table: Table, widths: Sequence[int]) -> int:
    """Compute the width of a line with columns of these widths."""
    _, right, _, left = table.padding
    padding = len(widths) * (left + right)
    if table.box is not None:
        return sum(widths) + padding + len(widths) + 1
    return sum(widths) + padding - (0 if table.pad_edge else left + right)


def _cells(column: Column) -> list[str]:
    return [_plain(cell) for cell in (column.header, *column.cells)]


def _least_widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return each column's least width, so that the first fits beside any other."""
    room = width - _EDGES
    return [_least(column, room * 2 // 3 if n else room // 3) for n, column in enumerate(columns)]


def _least(column: Column, most: int) -> int:
    """The longest word, `most` at most: a longer one is folded."""
    words = [word for cell in _cells(column) for word in _words(column, cell)]
    return min(max(map(cell_len, words), default=1), most) or 1


def _words(column: Column, cell: str) -> list[str]:
    """What must stay on one line: a whole cell of a column of amounts, else each word."""
    return cell.splitlines() if column.justify == "right" or column.no_wrap else cell.split()


def _most(column: Column) -> int:
    return max((cell_len(line) for cell in _cells(column) for line in cell.splitlines()), default=1)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain
