"""The node types of a cluster file: `ray up`'s format, or a KubeRay manifest.

Promises: `read_cluster` returns what `autoscale.capacity.nodes` counts with, as Ray reads the file
(`deployments.machine.ray_cluster`) and priced by the table of machines, or raises a `SettingsError`
that names the place in the file and what is wrong. Not covered: what is in a manifest besides its
groups; KubeRay checks it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoscale.capacity.nodes import NodeType
from core.errors import SettingsError
from core.files.problem import missing
from core.settings.machines import Machine, MachineTable
from core.settings.yaml_file import load
from deployments.machine.ray_cluster import kuberay, launcher

_MACHINE_KEYS = ("InstanceType", "machineType")  # AWS's and Google's names for it
_KINDS = ("RayService", "RayCluster")
_WANTED = "neither a cluster file of `ray up` nor a RayService or RayCluster"
_MACHINE_LABEL = "node.kubernetes.io/instance-type"


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """The node types, how many workers there may be of all together, and when idle ones go."""

    types: tuple[NodeType, ...]
    max_workers: int
    idle_timeout_s: float


def read_cluster(path: Path, table: MachineTable) -> ClusterFile:
    """The cluster in `path`; raises `SettingsError`."""
    raw = load(path)
    if not isinstance(raw, dict):
        raise SettingsError(path, [f"{_WANTED}: it is no mapping"])
    try:
        return _kuberay(path, raw, table) if raw.get("kind") in _KINDS else _up(path, raw, table)
    except ValueError as error:
        raise SettingsError(path, [str(error)]) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise SettingsError(path, [f"{_WANTED}: {missing(error)}"]) from error


def _up(path: Path, raw: Any, table: MachineTable) -> ClusterFile:
    config = launcher(path, raw)
    local = config["provider"]["type"] == "local"
    types = _hosts(config["provider"], table) if local else _node_types(config, table)
    return ClusterFile(types, config["max_workers"], 60.0 * config["idle_timeout_minutes"])


def _node_types(config: Any, table: MachineTable) -> tuple[NodeType, ...]:
    """`available_node_types`; of `resources` that are left out, what the machine has."""
    found = []
    for name, node in config["available_node_types"].items():
        machine = _machine(node["node_config"])
        resources = node["resources"]
        if not resources:
            if machine not in table.machines:
                raise ValueError(
                    f"available_node_types.{name}.resources is missing, and the table of machines "
                    f"does not have {machine or 'its machine'}"
                )
            resources = _resources(table.machines[machine])
        bounds = node["min_workers"], node["max_workers"]
        head = name == config["head_node_type"]
        found.append(_priced(name, resources, bounds, machine, table, head=head))
    return tuple(found)


def _machine(node_config: Any) -> str:
    return next((node_config[key] for key in _MACHINE_KEYS if key in node_config), "")


def _hosts(provider: Any, table: MachineTable) -> tuple[NodeType, ...]:
    """On-premise: hosts of one kind are a node type; all of them are there all the time."""
    if "worker_ips" not in provider:
        raise ValueError("provider.worker_ips is missing: a coordinator's hosts are not counted")
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


def _kuberay(path: Path, raw: Any, table: MachineTable) -> ClusterFile:
    """The head and the worker groups, with the bounds and resources that Ray derives of them."""
    config = kuberay(path, raw)
    spec = raw["spec"] if raw["kind"] == "RayCluster" else raw["spec"]["rayClusterConfig"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    if len(groups) != len(config["available_node_types"]):
        raise ValueError("workerGroupSpecs: two groups have the same groupName")
    types = []
    for (name, node), group in zip(config["available_node_types"].items(), groups, strict=True):
        # No memory: the tiers say nothing of what they take.
        resources = {key: much for key, much in node["resources"].items() if key != "memory"}
        bounds, head = (node["min_workers"], node["max_workers"]), name == config["head_node_type"]
        named = "head" if head else name
        types.append(_priced(named, resources, bounds, _pod_machine(group), table, head=head))
    return ClusterFile(tuple(types), config["max_workers"], 60.0 * config["idle_timeout_minutes"])


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
        machine=machine or None,
        usd_per_hour=known.usd_per_hour if known else None,
        gpu_memory_gib=known.gpus.memory_gib if known and known.gpus else None,
    )
