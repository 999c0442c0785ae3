"""`hansom cluster check`: which tier lands on which node type, how many nodes, what they cost.

No cloud and no cluster is asked: Ray's own code reads the file, and `autoscale.capacity.nodes`
counts. Exit code 1 where something will not work; a note is worth knowing and stops nothing.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from autoscale.capacity.nodes import needs, per_node, usd_per_hour
from cli.cluster_file import read_cluster
from cli.cluster_problems import Checked, examine
from cli.tables import show_table, terminal
from core.settings.load import Tier, load
from core.settings.machines import load_machines


def check(cluster: Path, config: Path, nodes: Path, *, as_json: bool) -> None:
    """Print the answer and leave with 1 where there is a problem; raises `SettingsError`."""
    table = load_machines(nodes)
    checked = examine(load(config), read_cluster(cluster, table), table)
    if as_json:
        typer.echo(json.dumps(as_dict(checked)))
    else:
        _show(checked, terminal())
    raise typer.Exit(int(bool(checked.problems)))


def as_dict(checked: Checked) -> dict[str, Any]:
    """The answer for `--json`; USD as text with all its decimals, None where a price is missing."""
    types = checked.cluster.types
    return {
        "tiers": [_tier_dict(tier, checked) for tier in checked.settings.tiers],
        "nodes": [
            {
                "type": type.name,
                "machine": type.machine,
                "usd_per_hour": _text(type.usd_per_hour),
                "at_min": checked.least.count(type.name),
                "at_max": checked.most.count(type.name),
                "min_workers": type.min_workers,
                "max_workers": type.max_workers,
            }
            for type in types
        ],
        "usd_per_hour": {
            "min": _text(usd_per_hour(checked.least, types)),
            "max": _text(usd_per_hour(checked.most, types)),
        },
        "problems": [{"what": one.what, "advice": one.advice} for one in checked.problems],
        "notes": list(checked.notes),
    }


def _tier_dict(tier: Tier, checked: Checked) -> dict[str, Any]:
    holds = {type.name: per_node(type, needs(tier)) for type in checked.cluster.types}
    return {
        "tier": tier.name,
        "needs": needs(tier),
        "replicas": {"min": tier.replicas.min, "max": tier.replicas.max},
        "per_node": {name: count for name, count in holds.items() if count},
        "at_min": checked.least.where(tier.name),
        "at_max": checked.most.where(tier.name),
    }


def _text(usd: Decimal | None) -> str | None:
    return None if usd is None else str(usd)


def _show(checked: Checked, console: Console) -> None:
    tiers = Table("tier", "one replica takes", "replicas", "lands on", "a node holds")
    for tier in checked.settings.tiers:
        told = _tier_dict(tier, checked)
        tiers.add_row(
            tier.name,
            ", ".join(f"{amount:g} {name}" for name, amount in told["needs"].items()),
            f"{tier.replicas.min} to {tier.replicas.max}",
            ", ".join(told["at_max"]) or "[red]nothing[/]",
            ", ".join(str(told["per_node"][name]) for name in told["at_max"]),
        )
    show_table(tiers, console)
    right = (Column(name, justify="right") for name in ("price", "at min", "at max", "max_workers"))
    nodes = Table("node type", "machine", *right)
    for type in checked.cluster.types:
        counts = (checked.least.count(type.name), checked.most.count(type.name))
        limit = "head" if type.head else str(type.max_workers)
        price = "?" if type.usd_per_hour is None else f"{type.usd_per_hour:.2f} USD/h"
        nodes.add_row(type.name, type.machine or "", price, *map(str, counts), limit)
    least, most = (
        usd_per_hour(fleet, checked.cluster.types) for fleet in (checked.least, checked.most)
    )
    if least is not None and most is not None:
        nodes.add_row("[bold]together[/]", "", "", f"{least:.2f} USD/h", f"{most:.2f} USD/h", "")
    show_table(nodes, console)
    for problem in checked.problems:
        console.print(f"[red]problem:[/] {escape(problem.what)}\n  {escape(problem.advice)}")
    for note in checked.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")
