"""One explanation of `hansom cache explain` for people."""

from __future__ import annotations

from rich.table import Table

from cli.cache_explain import Explained, Neighbour
from cli.tables import show_table, terminal

_TEXT_CHARS = 60


def show(told: Explained) -> None:
    """Print the decision, then each near entry with what is said of it."""
    console = terminal()
    console.print(f"{told.decision}: {told.words}.", markup=False)
    if told.near:
        table = Table("", "cosine", "gate or probability", "answer", "outcomes", "age", "text")
        for one in told.near:
            table.add_row("→" if one.key == told.serves else "", *_cells(one))
        show_table(table, console)
    if told.thresholds is not None:
        together = "" if told.together is None else f"; the neighbours together {told.together:.3f}"
        console.print(
            f"Level {told.level} for a wrong share of {told.wrong_share:.2%}: a pair needs "
            f"{told.thresholds.pair:.3f}, neighbours {told.thresholds.consensus:.3f}{together}."
        )
    for name, value in (
        ("tenant", told.tenant),
        ("exact key", told.exact_key),
        ("scope", told.scope_key),
        *((f"entry {at}", one.key) for at, one in enumerate(told.near, 1)),
    ):
        if value:
            console.print(f"{name}: {value}", markup=False, soft_wrap=True)


def _cells(one: Neighbour) -> tuple[str, ...]:
    text = one.text if len(one.text) <= _TEXT_CHARS else one.text[: _TEXT_CHARS - 1] + "…"
    return (
        f"{one.cosine:.4f}",
        one.gate or f"{one.probability:.4f}",
        one.answer[:8],
        f"{one.outcomes_same}/{one.outcomes_same + one.outcomes_other}",
        f"{one.age_s:,.0f} s",
        text.replace("\n", " ").replace("[", "\\["),
    )
