"""How `hansom cost` shows its results: tables for people, plain values for machines."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from cli.cost_inputs import Input
from cli.tables import show_table, terminal
from core.money import DAYS_PER_MONTH, usd
from ledger.cost.model import Cost, PartCost
from ledger.cost.tornado import Swing

_MONTH = f"A month is {DAYS_PER_MONTH} days."
_BAR = 10


def part_dict(part: PartCost) -> dict[str, Any]:
    """One part of a workload; `fleet` is null for an API."""
    fleet = part.fleet
    told = None
    if fleet is not None:
        told = {
            "replicas": fleet.replicas,
            "gpus": fleet.gpus,
            "gpu_hours_needed_per_day": float(fleet.gpu_hours_needed),
            "gpu_hours_paid_per_day": float(fleet.gpu_hours_paid),
            "idle_share": float(fleet.idle_share),
            "gpu_usd_per_day": float(fleet.gpu_usd_per_day),
            "engineering_usd_per_day": float(fleet.engineering_usd_per_day),
        }
    return {
        "model": part.model,
        "attempts_per_day": float(part.attempts_per_day),
        "usd_per_day": float(part.usd_per_day),
        "fleet": told,
    }


def swing_dict(swing: Swing) -> dict[str, Any]:
    """One lever with its two ends."""
    return {
        "lever": swing.name,
        "low": swing.low,
        "base": swing.base,
        "high": swing.high,
        "low_usd_per_day": float(swing.low_usd_per_day),
        "base_usd_per_day": float(swing.base_usd_per_day),
        "high_usd_per_day": float(swing.high_usd_per_day),
        "source": swing.source,
    }


def models(rows: Sequence[tuple[str, str, str, Cost]], inputs: Sequence[Input]) -> None:
    """A table of models: name, source, price version and cost of each."""
    table = Table(
        "model", *_right("a request", "a day", "a month"), "source", title="Cost by model"
    )
    for name, source, _, made in rows:
        table.add_row(name, *_totals(made), source)
    console = terminal()
    show_table(table, console)
    _print_inputs(console, inputs)
    console.print(
        f"[dim]{_MONTH} Self-hosted rows: whole replicas, paid day and night, with engineering. "
        "`--model` tells more of one.[/dim]"
    )


def answer(
    title: str,
    made: Cost,
    inputs: Sequence[Input],
    even: Sequence[Mapping[str, Any]],
    swings: Sequence[Swing],
    shares: Mapping[str, Mapping[str, int]],
) -> None:
    """All tables of one workload."""
    console = terminal()
    table = Table(*_right("a request", "a day", "a month"), title=f"Cost: {title}")
    table.add_row(*_totals(made))
    show_table(table, console)
    _print_inputs(console, inputs)
    _print_fleets(console, made)
    _print_even(console, even)
    _print_swings(console, swings)
    _print_shares(console, shares)
    console.print(
        f"[dim]{_MONTH} Levers move one at a time. Models that are set against one another may not "
        "be as good as one another.[/dim]"
    )


def _totals(made: Cost) -> tuple[str, str, str]:
    return (
        f"{float(made.usd_per_request):.6f} USD",
        _money(made.usd_per_day),
        _money(made.usd_per_month),
    )


def _print_inputs(console: Console, inputs: Sequence[Input]) -> None:
    table = Table("input", "value", "source", title="What it rests on")
    for one in inputs:
        table.add_row(one.name, one.value, one.source)
    show_table(table, console)


def _print_fleets(console: Console, made: Cost) -> None:
    parts = [(part.model, part.fleet) for part in made.parts if part.fleet is not None]
    if not parts:
        return
    table = Table(
        "model", *_right("replicas", "GPUs", "GPU-hours/day used", "paid", "idle", "GPUs a day",
        "engineering a day"), title="Self-hosted",
    )  # fmt: skip
    for model, fleet in parts:
        table.add_row(
            model,
            str(fleet.replicas),
            str(fleet.gpus),
            f"{float(fleet.gpu_hours_needed):,.1f}",
            f"{float(fleet.gpu_hours_paid):,.1f}",
            f"{float(fleet.idle_share):.1%}",
            _money(fleet.gpu_usd_per_day),
            _money(fleet.engineering_usd_per_day),
        )
    show_table(table, console)


def _print_even(console: Console, even: Sequence[Mapping[str, Any]]) -> None:
    if not even:
        return
    table = Table(
        "API", "self-hosted",
        *_right("requests/day", "tokens/day", "cost a day", "always cheaper above"),
        "why", title="Break-even volume",
    )  # fmt: skip
    for one in even:
        table.add_row(
            one["api"],
            one["self_hosted"],
            _volume(one["requests_per_day"]),
            _volume(one["tokens_per_day"]),
            "–" if one["usd_per_day"] is None else f"{one['usd_per_day']:,.2f} USD",
            _volume(one["for_good_requests_per_day"]),
            one["reason"],
        )
    show_table(table, console)


def _print_swings(console: Console, swings: Sequence[Swing]) -> None:
    amounts = _right("a day at low", "a day at high")
    table = Table("lever", "low", amounts[0], "now", "high", amounts[1], "", title="What-if")
    sources = Table("lever", "source", title="Where its ends come from")
    widest = max((swing.width_usd_per_day for swing in swings), default=Fraction(0)) or Fraction(1)
    for swing in swings:
        table.add_row(
            swing.name,
            swing.low,
            _money(swing.low_usd_per_day),
            swing.base,
            swing.high,
            _money(swing.high_usd_per_day),
            "█" * round(_BAR * swing.width_usd_per_day / widest),
        )
        sources.add_row(swing.name, swing.source)
    show_table(table, console)
    show_table(sources, console)


def _print_shares(console: Console, shares: Mapping[str, Mapping[str, int]]) -> None:
    for tier, tenants in shares.items():
        table = Table(
            "tenant", *_right("share"), title=f"Tier {tier}: the bill of this time by GPU-seconds"
        )
        for tenant, micros in sorted(tenants.items(), key=lambda one: (-one[1], one[0])):
            table.add_row(tenant, f"{usd(micros)} USD")
        show_table(table, console)


def _money(value: Fraction) -> str:
    return f"{float(value):,.2f} USD"


def _right(*names: str) -> list[Column]:
    """Columns of amounts, which are never folded."""
    return [Column(name, justify="right") for name in names]


def _volume(value: float | None) -> str:
    return "never" if value is None else f"{value:,.0f}"
