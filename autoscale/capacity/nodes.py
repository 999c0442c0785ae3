"""Place replicas on node types, and count the nodes and their cost.

Promises: a node never holds more than it has; a fleet that grows keeps its nodes, so more replicas
never cost less; amounts are counted in ten-thousandths, as Ray counts them, so that ten times 0.1
is 1. Nothing is read, and nothing is asked of Ray.

A replica goes to a node that is there and has room, else to a new one. Of several, the one with the
best score of Ray's autoscaler (`ray.autoscaler.v2.scheduler`, 2.60): a GPU node only for what
needs GPUs, then the most resource types in common, then the fullest node in its least used
resource, then on average.

Not covered: the places of the gateway, the router and the ledger (0.01 CPU each), memory, labels,
and where Ray Serve puts a replica among nodes that have room already.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from core.settings.load import Tier

UNITS = 10_000
"""Of one CPU, GPU or custom resource; Ray's own resolution."""


@dataclass(frozen=True, slots=True)
class NodeType:
    """A kind of node as the cluster file tells it; the head is there once and never added.

    `resources` are Ray's (CPU, GPU, custom), in whole resources. `usd_per_hour` and
    `gpu_memory_gib` are None where nobody told them.
    """

    name: str
    resources: Mapping[str, float]
    min_workers: int = 0
    max_workers: int = 0
    head: bool = False
    machine: str | None = None
    usd_per_hour: Decimal | None = None
    gpu_memory_gib: float | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One node of `type` with the replicas it holds, by tier; `used` in units of each resource."""

    type: str
    holds: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeFleet:
    """Nodes, and the replicas that no node type can hold, by tier."""

    nodes: tuple[Node, ...]
    homeless: Mapping[str, int] = field(default_factory=dict)

    def count(self, type: str) -> int:
        """Nodes of one type."""
        return sum(node.type == type for node in self.nodes)

    def where(self, tier: str) -> dict[str, int]:
        """Replicas of one tier by node type."""
        found: Counter[str] = Counter()
        for node in self.nodes:
            if held := node.holds.get(tier):
                found[node.type] += held
        return dict(found)


def needs(tier: Tier) -> dict[str, float]:
    """What one replica reserves in Ray: all on one node, however many GPUs it spans."""
    asked = {
        "CPU": tier.cpus_per_replica,
        "GPU": float(tier.accelerator.per_replica),
        **tier.node_resources,
    }
    return {name: amount for name, amount in asked.items() if amount}


def per_node(type: NodeType, wanted: Mapping[str, float]) -> int:
    """How many replicas an empty node holds; `wanted` must not be empty."""
    has, takes = _units(type.resources), _units(wanted)
    return min(has.get(name, 0) // amount for name, amount in takes.items())


def lacks(type: NodeType, wanted: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """What keeps a replica off the type: (wanted, there) of each resource that is too small."""
    return {
        name: (amount, type.resources.get(name, 0.0))
        for name, amount in wanted.items()
        if amount > type.resources.get(name, 0.0)
    }


def first_fleet(types: Sequence[NodeType]) -> NodeFleet:
    """The nodes that are always there: the head, and every type's `min_workers`."""
    nodes = [Node(type.name) for type in types if type.head]
    for type in types:
        nodes += [Node(type.name)] * (0 if type.head else type.min_workers)
    return NodeFleet(tuple(nodes))


def grow(
    fleet: NodeFleet, types: Sequence[NodeType], replicas: Sequence[tuple[Tier, int]]
) -> NodeFleet:
    """The fleet with so many more replicas of each tier, the largest first.

    `max_workers` is not heeded: compare `NodeFleet.count` with it to say how many are missing.
    """
    nodes, homeless = list(fleet.nodes), Counter(fleet.homeless)
    known = {type.name: type for type in types}
    empty = [Node(type.name) for type in types if not type.head]
    for tier, count in sorted(replicas, key=_size, reverse=True):
        takes = _units(needs(tier))
        for _ in range(count):
            if (place := _best(nodes, known, takes)) is not None:
                nodes[place] = _hold(nodes[place], tier.name, takes)
            elif (new := _best(empty, known, takes)) is not None:
                nodes.append(_hold(empty[new], tier.name, takes))
            else:
                homeless[tier.name] += 1
    return NodeFleet(tuple(nodes), dict(homeless))


def usd_per_hour(fleet: NodeFleet, types: Sequence[NodeType]) -> Decimal | None:
    """What the fleet costs; None where a node's price is not known."""
    prices = {type.name: type.usd_per_hour for type in types}
    total = Decimal(0)
    for node in fleet.nodes:
        price = prices[node.type]
        if price is None:
            return None
        total += price
    return total


def _units(amounts: Mapping[str, float]) -> dict[str, int]:
    return {name: round(amount * UNITS) for name, amount in amounts.items() if amount}


def _size(asked: tuple[Tier, int]) -> tuple[int, float]:
    return asked[0].accelerator.per_replica, asked[0].cpus_per_replica


def _hold(node: Node, tier: str, takes: Mapping[str, int]) -> Node:
    used = {name: node.used.get(name, 0) + amount for name, amount in takes.items()}
    holds = {**node.holds, tier: node.holds.get(tier, 0) + 1}
    return replace(node, holds=holds, used={**node.used, **used})


def _best(
    nodes: Sequence[Node], types: Mapping[str, NodeType], takes: Mapping[str, int]
) -> int | None:
    """Which of the nodes takes the replica, None when it fits none; the first of equals."""
    best: tuple[tuple[bool, int, float, float], int] | None = None
    for place, node in enumerate(nodes):
        score = _score(node, _units(types[node.type].resources), takes)
        if score is not None and (best is None or score > best[0]):
            best = score, place
    return best[1] if best else None


def _score(
    node: Node, has: Mapping[str, int], takes: Mapping[str, int]
) -> tuple[bool, int, float, float] | None:
    """Ray's utilization score of the node with the replica on it; None when it has no room."""
    used = {name: node.used.get(name, 0) + takes.get(name, 0) for name in {*has, *takes}}
    if any(amount > has.get(name, 0) for name, amount in used.items()):
        return None
    rates = [amount / UNITS * (used[name] / amount) ** 3 for name, amount in has.items()]
    gpu_ok = "GPU" in takes or "GPU" not in has
    common = sum(name in has for name in takes)
    return gpu_ok, common, min(rates, default=0.0), sum(rates) / max(1, len(rates))
