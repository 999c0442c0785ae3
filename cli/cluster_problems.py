"""What is wrong with a cluster file for some settings: problems with their advice, and notes.

Promises: pure; each problem names the part, the numbers and what to do. `examine` is what
`hansom cluster check` prints.
Not covered: what Ray refuses (`deployments.machine.ray_cluster`), and what only a cloud knows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoscale.capacity.fit import fit, sizable
from autoscale.capacity.nodes import (
    NodeFleet,
    NodeType,
    first_fleet,
    grow,
    lacks,
    needs,
    per_node,
    usd_per_hour,
)
from cli.cluster_file import ClusterFile
from core.settings.load import Settings, Tier
from core.settings.machines import MachineTable
from ledger.path.sql_store import database_url

_THIS_MACHINE = ("unix://", "localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class ClusterProblem:
    """What will not work, and what to do about it."""

    what: str
    advice: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Everything the command tells; `least` and `most` are fleets at the tiers' bounds.

    Where `cluster.max_gpus` does not allow every tier its most replicas, `most` is the dearest
    fleet in which one tier has as many as it allows.
    """

    settings: Settings
    cluster: ClusterFile
    least: NodeFleet
    most: NodeFleet
    problems: tuple[ClusterProblem, ...]
    notes: tuple[str, ...]


def examine(settings: Settings, cluster: ClusterFile, table: MachineTable) -> Checked:
    """Place the tiers at their fewest and at their most replicas, and find what is wrong."""
    tiers, types = settings.tiers, cluster.types
    least = grow(first_fleet(types), types, [(tier, tier.replicas.min) for tier in tiers])
    fullest = [grow(least, types, more) for more in _most(settings)]
    most = max(fullest, key=lambda fleet: (usd_per_hour(fleet, types) or 0, len(fleet.nodes)))
    problems = (
        *(problem for tier in tiers for problem in _tier_problems(tier, types)),
        *_too_few(cluster, fullest),
        *(problem for type in types for problem in _machine_problems(type, table)),
        *_unreachable(settings),
        *_too_early(settings, cluster),
        *_no_place_for_control(settings, types),
    )
    return Checked(settings, cluster, least, most, problems, tuple(_notes(settings, types, table)))


def _most(settings: Settings) -> list[list[tuple[Tier, int]]]:
    """Replicas above the fewest, as many as there may be at once.

    Under `cluster.max_gpus` there is one list for each tier that is the first to take what is left
    above all floors; the others follow in their order.
    """
    tiers, budget = settings.tiers, settings.cluster.max_gpus
    if budget is None:
        return [[(tier, tier.replicas.max - tier.replicas.min) for tier in tiers]]
    floors = sum(tier.floor * tier.accelerator.per_replica for tier in tiers)
    found = []
    for first in tiers:
        left, more = budget - floors, []
        for tier in (first, *(one for one in tiers if one is not first)):
            gpus, most = tier.accelerator.per_replica, tier.replicas.max - tier.floor
            taken = min(most, left // gpus) if gpus else most
            left -= taken * gpus
            more.append((tier, tier.floor - tier.replicas.min + taken))
        found.append(more)
    return found


def _tier_problems(tier: Tier, types: Sequence[NodeType]) -> Iterator[ClusterProblem]:
    """No node type, too small a GPU by the machine's or by the model's own measure."""
    wanted = needs(tier)
    homes = [type for type in types if per_node(type, wanted)]
    if not homes:
        short = "; ".join(f"{type.name} lacks {_lack(type, wanted)}" for type in types)
        yield ClusterProblem(
            f"tier {tier.name}: no node type holds a replica ({short})",
            "give a node type these resources, or ask for less in the tier "
            "(accelerator.per_replica, cpus_per_replica, node_resources)",
        )
    for type in homes:
        has, asked = type.gpu_memory_gib, tier.accelerator.memory_gib
        if tier.accelerator.per_replica and has is not None and has < asked:
            yield ClusterProblem(
                f"tier {tier.name}: counts on {asked:g} GiB a GPU, and node type {type.name} "
                f"({type.machine}) has {has:g} GiB",
                "set accelerator.memory_gib to what is there, or take machines with larger GPUs",
            )
    if sizable(tier) and not fit(tier).fits:
        yield ClusterProblem(
            f"tier {tier.name}: {fit(tier).reason}",
            "a smaller max_model_len, stronger quantization, or more GPUs per replica",
        )


def _lack(type: NodeType, wanted: dict[str, float]) -> str:
    missing = lacks(type, wanted)
    return ", ".join(f"{name} ({there:g} of {asked:g})" for name, (asked, there) in missing.items())


def _too_few(cluster: ClusterFile, fullest: Sequence[NodeFleet]) -> Iterator[ClusterProblem]:
    """Bounds that are lower than what the tiers need at their most replicas."""
    types = [type for type in cluster.types if not type.head]
    workers = max(sum(fleet.count(type.name) for type in types) for fleet in fullest)
    for type in types:
        needed = max(fleet.count(type.name) for fleet in fullest)
        if needed > type.max_workers:
            yield ClusterProblem(
                f"node type {type.name}: {needed} nodes are needed at the tiers' most replicas, "
                f"and max_workers is {type.max_workers}",
                f"raise its max_workers to {needed}, or lower the tiers' replicas.max",
            )
    if workers > cluster.max_workers:
        yield ClusterProblem(
            f"{workers} workers are needed at the tiers' most replicas, and the cluster's "
            f"max_workers is {cluster.max_workers}",
            f"raise max_workers to {workers}",
        )


def _machine_problems(type: NodeType, table: MachineTable) -> Iterator[ClusterProblem]:
    """A node type that promises the autoscaler more than its machine has is never filled."""
    machine = table.machines.get(type.machine or "")
    if machine is None:
        return
    has = {"CPU": machine.cpus, "GPU": float(machine.gpus.count if machine.gpus else 0)}
    for name, there in has.items():
        if (told := type.resources.get(name, 0.0)) > there:
            yield ClusterProblem(
                f"node type {type.name}: its resources say {name}: {told:g}, and a "
                f"{type.machine} has {there:g}",
                "nodes would be started for replicas that they cannot hold: correct `resources`",
            )


def _unreachable(settings: Settings) -> Iterator[ClusterProblem]:
    """What every node must reach may not be on one of them only."""
    url = settings.cache.redis_url
    if url is None or any(name in url for name in _THIS_MACHINE):
        yield ClusterProblem(
            "cache.redis_url: nodes of a cluster need one Redis that all of them reach",
            "set it to a host name that every node resolves",
        )
    database = settings.ledger.database_url
    if database and any(name in database for name in _THIS_MACHINE):
        yield ClusterProblem(
            "ledger.database_url: it is on this machine, and the ledger runs on any node",
            "set it to a host name that every node resolves",
        )


def _too_early(settings: Settings, cluster: ClusterFile) -> Iterator[ClusterProblem]:
    """A node that goes while its tier still holds replicas is fetched and loaded again."""
    hold_s = max(tier.scaling.hold_s for tier in settings.tiers)
    if cluster.idle_timeout_s < hold_s:
        yield ClusterProblem(
            f"idle nodes go after {cluster.idle_timeout_s / 60:g} minutes, and replicas are held "
            f"for {hold_s / 60:g} when the load falls (tiers.scaling.hold_s)",
            f"set the idle timeout to {hold_s / 60:g} minutes or more",
        )


def _no_place_for_control(
    settings: Settings, types: Sequence[NodeType]
) -> Iterator[ClusterProblem]:
    """The gateway, the router and the ledger wait for ever where no node has their resources."""
    asked = settings.server.node_resources
    if asked and not any(per_node(type, asked) for type in types):
        named = ", ".join(f"{name}: {amount:g}" for name, amount in asked.items())
        yield ClusterProblem(
            f"server.node_resources: no node type has {named}",
            "give it to the head's `resources`, or leave the setting out",
        )


def _notes(settings: Settings, types: Sequence[NodeType], table: MachineTable) -> Iterator[str]:
    for tier in settings.tiers:
        homes = [type.name for type in types if per_node(type, needs(tier))]
        if len(homes) > 1:
            yield (
                f"tier {tier.name} fits {', '.join(homes)}: a custom resource in its "
                "node_resources would bind it to one of them"
            )
    gpus = sum(tier.replicas.max * tier.accelerator.per_replica for tier in settings.tiers)
    if (budget := settings.cluster.max_gpus) is not None and gpus > budget:
        yield (
            f"cluster.max_gpus is {budget}, and all tiers at their most replicas would take "
            f"{gpus}: at max is the dearest that there may be"
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
