"""`hansom cluster check`: which tier lands on which node type, how many nodes, what they cost.

Nothing is asked of a cloud or of Ray: the answer is `autoscale.nodes` on the files alone.
Exit code 1 where something will not work; a note is worth knowing and stops nothing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autoscale.fit import fit, sizable
from autoscale.nodes import (
    Fleet,
    NodeType,
    first_fleet,
    grow,
    lacks,
    needs,
    per_node,
    usd_per_hour,
)
from cli.cluster_file import Cluster, read_cluster
from core.machines import MachineTable, load_machines
from core.settings import Settings, Tier, load
from ledger.sql_store import database_url

_THIS_MACHINE = ("unix://", "localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Problem:
    """What will not work, and what to do about it."""

    what: str
    advice: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Everything the command tells; `least` and `most` are fleets at the tiers' bounds."""

    settings: Settings
    cluster: Cluster
    least: Fleet
    most: Fleet
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def check(cluster: Path, config: Path, nodes: Path, *, as_json: bool) -> None:
    """Print the answer and leave with 1 where there is a problem; raises `SettingsError`."""
    table = load_machines(nodes)
    checked = examine(load(config), read_cluster(cluster, table), table)
    if as_json:
        typer.echo(json.dumps(as_dict(checked)))
    else:
        _show(checked, Console())
    raise typer.Exit(int(bool(checked.problems)))


def examine(settings: Settings, cluster: Cluster, table: MachineTable) -> Checked:
    """Place the tiers at their fewest and at their most replicas, and find what is wrong."""
    tiers, types = settings.tiers, cluster.types
    least = grow(first_fleet(types), types, [(tier, tier.replicas.min) for tier in tiers])
    more = [(tier, tier.replicas.max - tier.replicas.min) for tier in tiers]
    most = grow(least, types, more)
    problems = (
        *(problem for tier in tiers for problem in _tier_problems(tier, types)),
        *_too_few(cluster, most),
        *(problem for type in types for problem in _machine_problems(type, table)),
        *_unreachable(settings),
    )
    return Checked(settings, cluster, least, most, problems, tuple(_notes(settings, types, table)))


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


def _tier_problems(tier: Tier, types: tuple[NodeType, ...]) -> Iterator[Problem]:
    """No node type, too small a GPU by the machine's or by the model's own measure."""
    wanted = needs(tier)
    homes = [type for type in types if per_node(type, wanted)]
    if not homes:
        short = "; ".join(f"{type.name} lacks {_lack(type, wanted)}" for type in types)
        yield Problem(
            f"tier {tier.name}: no node type holds a replica ({short})",
            "give a node type these resources, or ask for less in the tier "
            "(accelerator.per_replica, cpus_per_replica, node_resources)",
        )
    for type in homes:
        has, asked = type.gpu_memory_gib, tier.accelerator.memory_gib
        if tier.accelerator.per_replica and has is not None and has < asked:
            yield Problem(
                f"tier {tier.name}: counts on {asked:g} GiB a GPU, and node type {type.name} "
                f"({type.machine}) has {has:g} GiB",
                "set accelerator.memory_gib to what is there, or take machines with larger GPUs",
            )
    if sizable(tier) and not fit(tier).fits:
        yield Problem(
            f"tier {tier.name}: {fit(tier).reason}",
            "a smaller max_model_len, stronger quantization, or more GPUs per replica",
        )


def _lack(type: NodeType, wanted: dict[str, float]) -> str:
    missing = lacks(type, wanted)
    return ", ".join(f"{name} ({there:g} of {asked:g})" for name, (asked, there) in missing.items())


def _too_few(cluster: Cluster, most: Fleet) -> Iterator[Problem]:
    """Bounds that are lower than what the tiers need at their most replicas."""
    workers = 0
    for type in cluster.types:
        if type.head:
            continue
        needed = most.count(type.name)
        workers += needed
        if needed > type.max_workers:
            yield Problem(
                f"node type {type.name}: {needed} nodes are needed at the tiers' most replicas, "
                f"and max_workers is {type.max_workers}",
                f"raise its max_workers to {needed}, or lower the tiers' replicas.max",
            )
    if workers > cluster.max_workers:
        yield Problem(
            f"{workers} workers are needed at the tiers' most replicas, and the cluster's "
            f"max_workers is {cluster.max_workers}",
            f"raise max_workers to {workers}",
        )


def _machine_problems(type: NodeType, table: MachineTable) -> Iterator[Problem]:
    """A node type that promises the autoscaler more than its machine has is never filled."""
    machine = table.machines.get(type.machine or "")
    if machine is None:
        return
    has = {"CPU": machine.cpus, "GPU": float(machine.gpus.count if machine.gpus else 0)}
    for name, there in has.items():
        if (told := type.resources.get(name, 0.0)) > there:
            yield Problem(
                f"node type {type.name}: its resources say {name}: {told:g}, and a "
                f"{type.machine} has {there:g}",
                "nodes would be started for replicas that they cannot hold: correct `resources`",
            )


def _unreachable(settings: Settings) -> Iterator[Problem]:
    """What every node must reach may not be on one of them only."""
    url = settings.cache.redis_url
    if url is None or any(name in url for name in _THIS_MACHINE):
        yield Problem(
            "cache.redis_url: nodes of a cluster need one Redis that all of them reach",
            "set it to a host name that every node resolves",
        )
    database = settings.ledger.database_url
    if database and any(name in database for name in _THIS_MACHINE):
        yield Problem(
            "ledger.database_url: it is on this machine, and the ledger runs on any node",
            "set it to a host name that every node resolves",
        )


def _notes(
    settings: Settings, types: tuple[NodeType, ...], table: MachineTable
) -> Iterator[str]:
    for tier in settings.tiers:
        homes = [type.name for type in types if per_node(type, needs(tier))]
        if len(homes) > 1:
            yield (
                f"tier {tier.name} fits {', '.join(homes)}: a custom resource in its "
                "node_resources would bind it to one of them"
            )
    for type in types:
        if type.usd_per_hour is None:
            which = type.machine or "no machine in its node_config"
            yield f"node type {type.name}: no price for {which}; add it to the table of machines"
    if database_url(settings.ledger, Path()).get_backend_name() == "sqlite":
        yield "the ledger is a SQLite file on the head's disk: it goes when the head goes"
    used = [table.machines[type.machine] for type in types if type.machine in table.machines]
    if used:
        yield f"prices as of {min(one.as_of for one in used)}, on-demand, without disks and traffic"


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
    console.print(tiers)
    nodes = Table("node type", "machine", "USD/h", "at min", "at max", "max_workers")
    for type in checked.cluster.types:
        counts = (checked.least.count(type.name), checked.most.count(type.name))
        limit = "head" if type.head else str(type.max_workers)
        price = "?" if type.usd_per_hour is None else f"{type.usd_per_hour:.2f}"
        nodes.add_row(type.name, type.machine or "", price, *map(str, counts), limit)
    least, most = (
        usd_per_hour(fleet, checked.cluster.types) for fleet in (checked.least, checked.most)
    )
    if least is not None and most is not None:
        nodes.add_row("[bold]together[/]", "", "", f"{least:.2f} USD/h", f"{most:.2f} USD/h", "")
    console.print(nodes)
    for problem in checked.problems:
        console.print(f"[red]no[/] {escape(problem.what)}\n   {escape(problem.advice)}")
    for note in checked.notes:
        console.print(f"[yellow]--[/] {escape(note)}")
