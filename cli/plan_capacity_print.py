"""How `hansom plan capacity` shows a plan to people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from autoscale.capacity.forecast import CapacityPlan, NextGpu, Range
from autoscale.capacity.scenario import Solved
from cli.plan_capacity_inputs import CapacityFigures
from cli.tables import show_table, terminal
from core.money import DAYS_PER_MONTH

_STEPS = (0, 6, 13, 29, 59, 89, 179, 364, 729)


def answer(
    solved: Solved, what_ifs: Sequence[Mapping[str, Any]], reckoned: CapacityFigures, seconds: float
) -> None:
    """Today's fleets, the days, the what-ifs, and what it all rests on."""
    console = terminal()
    _today(console, solved)
    _days(console, solved.plan)
    for tier in solved.plan.tiers:
        console.print(
            f"{tier.name}: {tier.have} nodes ({tier.node.name}); the next one is needed "
            f"{_dates(tier.next_gpu)}."
        )
    _what_ifs(console, what_ifs)
    table = Table("input", "value", "source", title="What it rests on")
    for one in reckoned.inputs:
        table.add_row(one.name, one.value, one.source)
    show_table(table, console)
    for note in reckoned.notes:
        console.print(f"[yellow]Note:[/yellow] {note}.")
    console.print(
        f"[dim]lower–expected–upper of the forecast's band. Fleets are there day and night; "
        f"`hansom plan replay` shows what scaling saves. A month is {DAYS_PER_MONTH} days. Made in "
        f"{seconds:.1f} s.[/dim]"
    )


def _today(console: Console, solved: Solved) -> None:
    table = Table(
        "tier", "profile", *(Column(name, justify="right") for name in
        ("replicas", "within SLO", "worst hour", "replays")),
        title="The design day as it was, no margins",
    )  # fmt: skip
    for spec in solved.scenario.tiers:
        if (one := solved.today.get(spec.name)) is not None:
            table.add_row(
                spec.name, spec.profile.name, f"{one.replicas}", f"{one.slo_attainment:.2%}",
                f"{one.worst_hour:.2%}", f"{one.replays}",
            )  # fmt: skip
    show_table(table, console)


def _days(console: Console, plan: CapacityPlan) -> None:
    names = ("tier", "load", "replicas", "nodes", "an hour", "a month, all tiers")
    table = Table("day", *(Column(name, justify="right") for name in names), title="Days to come")
    count = len(plan.tiers[0].days)
    for n in sorted({*(step for step in _STEPS if step < count), count - 1}):
        month = f"{_range(plan.usd_per_month(n), ',.0f')} USD"
        for tier in plan.tiers:
            day = tier.days[n]
            table.add_row(
                day.date.isoformat(), tier.name, _range(day.load, ".2f"),
                _range(day.replicas, ".0f"), _range(day.nodes, ".0f"),
                f"{_range(day.usd_per_hour, ',.2f')} USD", month,
            )  # fmt: skip
            month = ""
    show_table(table, console)


def _what_ifs(console: Console, what_ifs: Sequence[Mapping[str, Any]]) -> None:
    if not what_ifs:
        return
    table = Table(
        "what if", "replicas, first day", "as it is", "more a month", "next GPU", title="What if"
    )
    for one in what_ifs:
        dates = one["next_gpu"]
        table.add_row(
            one["change"], _replicas(one["replicas"]), _replicas(one["replicas_as_it_is"]),
            _signed(one["usd_per_month_more"]), dates["earliest"] or "not in these days",
        )  # fmt: skip
    show_table(table, console)


def _replicas(tiers: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(f"{name} {_told(one, '.0f')}" for name, one in tiers.items())


def _signed(more: Mapping[str, float]) -> str:
    told = " – ".join(f"{more[name]:+,.0f}" for name in ("lower", "expected", "upper"))
    return f"{told} USD"


def _told(one: Mapping[str, float], form: str) -> str:
    return "–".join(format(one[name], form) for name in ("lower", "expected", "upper"))


def _range(one: Range, form: str) -> str:
    return _told(one.as_dict(), form)


def _dates(found: NextGpu) -> str:
    if found.earliest is None:
        return "on none of these days"
    expected = found.expected.isoformat() if found.expected else "not in these days"
    return f"on {found.earliest} by the upper bound (expected: {expected})"
