"""Serve's `AutoscalingContext` as far as the policy reads it, and a profile to decide with."""

from dataclasses import dataclass, field
from typing import Any

from autoscale.live.observe import LoadReport
from autoscale.policy.profile import EngineProfile

PROFILE = EngineProfile(
    name="test", source="test", base_s=0.01, per_sequence_s=0.0, per_kv_token_s=0.0,
    prefill_tokens_per_s=1000.0, chunk_tokens=512, kv_tokens=10_000, max_sequences=10,
    cold_start_s=(1.0, 2.0), node_start_s=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Id:
    """A replica's id as Serve has it."""

    unique_id: str


@dataclass(frozen=True)
class Sample:
    """One value of a series."""

    timestamp: float
    value: float


@dataclass
class Context:
    """One tick; `reports` are what the running replicas told last."""

    current_time: Any = 1000.0
    target_num_replicas: Any = 1
    reports: dict[str, LoadReport] = field(default_factory=dict)
    ready: tuple[str, ...] | None = None

    @property
    def running_replicas(self) -> Any:
        return [Id(name) for name in (self.reports if self.ready is None else self.ready)]

    @property
    def raw_metrics(self) -> Any:
        found: dict[str, dict[Id, list[Sample]]] = {}
        for name, report in self.reports.items():
            for metric, value in report.as_stats().items():
                series = [Sample(report.at_s - 1, -7.0), Sample(report.at_s, value)]
                found.setdefault(metric, {})[Id(name)] = series
        return found
