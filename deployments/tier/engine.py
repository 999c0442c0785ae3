"""The Serve deployment of one tier: an engine behind its own HTTP server.

Each tier is its own application without a route, so HAProxy never shows it; the gateway reaches
its replicas directly (`deployments.gateway.backends.tier`). Serve gives it admission, draining,
health checks and replacement; the engine's own application does the rest.
"""

import os
from pathlib import Path
from typing import Any, Protocol

import ray

from autoscale.live.observe import LoadReport
from core import log
from core.call import Usage
from core.settings.load import SimulatedEngine, Tier
from deployments.machine import environment
from deployments.tier.slo_count import SloCount
from deployments.tier.usage_meter import UsageMeter


class EngineKind(Protocol):
    """What a tier's replica needs of an engine."""

    async def start(self) -> Any:
        """Load, and return an ASGI application that speaks the OpenAI API."""

    async def check_health(self) -> None:
        """Raise when it must be replaced."""

    def stop(self) -> None:
        """Free what it holds."""

    def report(self) -> LoadReport:
        """Its load now, as the autoscaler reads it."""

    def metrics_text(self) -> str:
        """Its metrics in Prometheus text format."""

    @property
    def meter(self) -> UsageMeter:
        """What each of its requests took, once it has started."""


def make_engine(tier: Tier, home: Path, prefill_tokens_per_s: float) -> EngineKind:
    """The real engine of a tier, or the simulated one where the settings say so by name.

    `prefill_tokens_per_s` is of the tier's profile.
    """
    if isinstance(tier.engine, SimulatedEngine):
        from deployments.tier.simulated.engine import Simulated

        return Simulated(tier.engine, tier.model, SloCount(tier.scaling.slo, prefill_tokens_per_s))
    from core.progress import SilentProgress
    from deployments.machine.weights import prepare
    from deployments.tier.vllm_engine import Vllm

    return Vllm(tier, prepare(tier, home, SilentProgress()), prefill_tokens_per_s)


class Engine:
    """A replica of one tier."""

    def __init__(self, tier: Tier, home: Path, log_level: str, prefill_tokens_per_s: float) -> None:
        environment.collect_garbage_seldom()
        log.set_up(log_level)
        self._engine = make_engine(tier, home, prefill_tokens_per_s)

    async def __serve_build_asgi_app__(self) -> Any:
        """Called by Serve once, before the replica counts as running."""
        return await self._engine.start()

    async def check_health(self) -> None:
        """Called by Serve every health period."""
        await self._engine.check_health()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Serve several times a second where the tier scales; see `LoadReport`."""
        return self._engine.report().as_stats()

    async def usage(self, engine_request_id: str) -> Usage | None:
        """What the request took, once it is over; None when it never came here."""
        return await self._engine.meter.usage(engine_request_id)

    async def metrics_text(self) -> str:
        """The engine's metrics in Prometheus text format."""
        return self._engine.metrics_text()

    async def where(self) -> dict[str, object]:
        """The process of this replica, its Ray node, and the GPUs that Ray gave it."""
        here = ray.get_runtime_context()
        gpus = here.get_accelerator_ids()["GPU"]
        return {"pid": os.getpid(), "node_id": here.get_node_id(), "gpus": gpus}

    def __del__(self) -> None:
        """Serve deletes the replica when it is retired."""
        if hasattr(self, "_engine"):
            self._engine.stop()
