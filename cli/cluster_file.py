"""The node types of a cluster file: `ray up`'s format, or a RayService manifest of KubeRay.

Promises: `read_cluster` returns what `autoscale.nodes` counts with, priced by the table of
machines, or raises a `SettingsError` that names what is missing.
Not covered: everything else in the file; `ray up` and KubeRay check it themselves.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autoscale.nodes import NodeType
from core.errors import SettingsError
from core.machines import Machine, MachineTable

_MACHINE_KEYS = ("InstanceType", "machineType")  # AWS's and Google's names for it
_MACHINE_LABEL = "node.kubernetes.io/instance-type"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The node types, how many workers there may be of all together, and when idle ones go."""

    types: tuple[NodeType, ...]
    max_workers: int
    idle_timeout_s: float


def read_cluster(path: Path, table: MachineTable) -> Cluster:
    """The cluster in `path`; raises `SettingsError`."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(path, [f"cannot be read: {error}"]) from error
    try:
        return _parsed(raw, table)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else str(error)
        wanted = "neither a cluster file of `ray up` nor a RayService"
        raise SettingsError(path, [f"{wanted}: {what}"]) from error


def _parsed(raw: Any, table: MachineTable) -> Cluster:
    if raw.get("kind") == "RayService":
        return _kuberay(raw["spec"]["rayClusterConfig"], table)
    idle_timeout_s = 60.0 * raw.get("idle_timeout_minutes", 5)
    if raw["provider"]["type"] == "local":
        types = _hosts(raw["provider"], table)
    else:
        types = _node_types(raw, table)
    most = raw.get("max_workers", sum(type.max_workers for type in types))
    return Cluster(types, most, idle_timeout_s)


def _node_types(raw: Any, table: MachineTable) -> tuple[NodeType, ...]:
    """`available_node_types`, as Ray fills in what is left out."""
    found = []
    for name, node in raw["available_node_types"].items():
        config = node.get("node_config") or {}
        machine = next((config[key] for key in _MACHINE_KEYS if key in config), None)
        least = node.get("min_workers", 0)
        most = node.get("max_workers", raw.get("max_workers", 0))
        head = name == raw["head_node_type"]
        found.append(_priced(name, node["resources"], (least, most), machine, table, head=head))
    return tuple(found)


def _hosts(provider: Any, table: MachineTable) -> tuple[NodeType, ...]:
    """On-premise: hosts of one kind are a node type; all of them are there all the time."""
    kinds = Counter(_kind(host, table) for host in provider["worker_ips"])
    head = table.machines[_kind(provider["head_ip"], table)]
    types = [_priced("head", _resources(head), (0, 0), _kind(provider["head_ip"], table), table,
                     head=True)]  # fmt: skip
    for name, count in kinds.items():
        made = _resources(table.machines[name])
        types.append(_priced(name, made, (count, count), name, table))
    return tuple(types)


def _kind(host: str, table: MachineTable) -> str:
    if host not in table.hosts:
        raise ValueError(f"host {host} is not among `hosts` of the table of machines")
    return table.hosts[host]


def _resources(machine: Machine) -> dict[str, float]:
    gpus = {"GPU": float(machine.gpus.count)} if machine.gpus else {}
    return {"CPU": machine.cpus, **gpus, **machine.resources}


def _kuberay(spec: Any, table: MachineTable) -> Cluster:
    """Worker groups; Kubernetes' amounts are whole CPUs and GPUs here, as Ray reads limits."""
    groups = [("head", spec["headGroupSpec"], (0, 0))]
    for group in spec["workerGroupSpecs"]:
        bounds = (group.get("minReplicas", 0), group["maxReplicas"])
        groups.append((group["groupName"], group, bounds))
    types = tuple(
        _priced(name, _pod_resources(group), bounds, _pod_machine(group), table, head=not place)
        for place, (name, group, bounds) in enumerate(groups)
    )
    idle_s = spec.get("autoscalerOptions", {}).get("idleTimeoutSeconds", 60)
    return Cluster(types, sum(type.max_workers for type in types), float(idle_s))


def _pod_resources(group: Any) -> dict[str, float]:
    """A pod's limits, which `rayStartParams` go before."""
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    given = group.get("rayStartParams", {})
    custom = yaml.safe_load(str(given.get("resources", "{}")).strip("'\"").replace("\\", ""))
    gpus = float(given.get("num-gpus", limits.get("nvidia.com/gpu", 0)))
    cpus = float(given.get("num-cpus", limits.get("cpu", 0)))
    return {"CPU": cpus, **({"GPU": gpus} if gpus else {}), **custom}


def _pod_machine(group: Any) -> str | None:
    selector = group["template"]["spec"].get("nodeSelector", {})
    machine: str | None = selector.get(_MACHINE_LABEL)
    return machine


def _priced(
    name: str,
    resources: Mapping[str, float],
    bounds: tuple[int, int],
    machine: str | None,
    table: MachineTable,
    *,
    head: bool = False,
) -> NodeType:
    known = table.machines.get(machine) if machine else None
    return NodeType(
        name,
        {key: float(amount) for key, amount in resources.items()},
        *bounds,
        head=head,
        machine=machine,
        usd_per_hour=known.usd_per_hour if known else None,
        gpu_memory_gib=known.gpus.memory_gib if known and known.gpus else None,
    )
