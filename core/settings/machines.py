"""The table of machines: the resources of a node type and its price per hour.

Ray refuses keys of others in a cluster file, so this stands in a file of its own
(`config/nodes.yaml`).
Promised: a table is frozen and checked when it is read; each price has a day and a source.
Not covered: spot prices, commitments, disks and traffic.
"""

from decimal import Decimal
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from core.settings.base import Frozen
from core.settings.prices import Day
from core.settings.yaml_file import read


class Gpus(Frozen):
    """The GPUs of one machine; `memory_gib` is what the driver gives of each."""

    type: str = Field(min_length=1)
    count: int = Field(ge=1)
    memory_gib: float = Field(gt=0)


class Machine(Frozen):
    """One kind of machine; `resources` are Ray's custom ones, for hosts that no provider makes."""

    as_of: Day
    source: str = Field(min_length=1)
    usd_per_hour: Decimal = Field(ge=0)
    cpus: float = Field(gt=0)
    gpus: Gpus | None = None
    resources: dict[str, float] = Field(default_factory=dict)


class MachineTable(Frozen):
    """Machines by the name that their provider gives them; `hosts` names on-premise addresses."""

    machines: dict[str, Machine] = Field(min_length=1)
    hosts: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _hosts_are_machines(self) -> Self:
        unknown = sorted(set(self.hosts.values()) - self.machines.keys())
        if unknown:
            raise ValueError(f"hosts name machines that are not in the table: {unknown}")
        return self


def load_machines(path: Path) -> MachineTable:
    """Read and check a table; raises `SettingsError` with every problem in it."""
    return read(path, MachineTable, "machines")
