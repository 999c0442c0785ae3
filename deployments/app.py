"""Build the Serve applications, one for each part.

    clients ── HAProxy ── gateway ──┬── tier-small   (HTTP to the replica)
                                    ├── tier-large   (HTTP to the replica)
                                    ├── router       (Serve handle)
                                    ├── Redis        (cache, ledger stream)
                                    └── ledger       (drains the stream to SQL)

Each builder takes the same arguments, so that `hansom serve` and `serve deploy config/serve.yaml`
build the same thing. Every part is an application of its own: it is upgraded, scaled and restarted
without the others.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from sqlalchemy import URL

from autoscale.capacity.nodes import needs
from core.settings.base import Replicas
from core.settings.load import Settings, Tier, VllmEngine
from deployments.gateway.gateway import Gateway
from deployments.ledger.drain import Ledger
from deployments.machine import environment
from deployments.names import (
    ENGINE_DEPLOYMENT,
    GATEWAY_DEPLOYMENT,
    LEDGER_DEPLOYMENT,
    ROUTER_DEPLOYMENT,
)
from deployments.router.router import Router
from deployments.scaling import budget_of, profile_of, profiles_of, scale_options
from deployments.tier.engine import Engine
from ledger.path.sql_store import database_url
from router.policy.terms import SCORED

# The classes stay plain, so that they can be read and tested without Serve.
GATEWAY = serve.deployment(name=GATEWAY_DEPLOYMENT)(serve.ingress()(Gateway))
ENGINE = serve.deployment(name=ENGINE_DEPLOYMENT)(serve.ingress()(Engine))
ROUTER = serve.deployment(name=ROUTER_DEPLOYMENT)(Router)
LEDGER = serve.deployment(name=LEDGER_DEPLOYMENT)(Ledger)

# One event per request is the gateway's own (`deployments.gateway.endpoint`); Serve's access log
# doubles it, and below WARNING its line is built even where it is then not written.
_QUIET = {"enable_access_log": False, "log_level": "WARNING"}
_MANY = 100_000  # admission is the gateway's own (limits.max_in_flight), with OpenAI's error shape
_CONTROL_CPUS = 0.01  # what Ray reserves; these parts share what the engines leave


class Args(BaseModel):
    """A builder's arguments in a Serve config file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: Path
    tier: str | None = None
    redis_url: str | None = None
    home: Path | None = None

    def settings(self) -> Settings:
        """The settings file, checked; raises `SettingsError`."""
        return environment.settings(self.config)

    def home_folder(self) -> Path:
        """Where files are kept on the node that runs the part."""
        return self.home or environment.home()

    def redis(self, settings: Settings) -> str:
        """The Redis to use; raises `ValueError` when neither the file nor the caller names one."""
        url = self.redis_url or settings.cache.redis_url
        if url is None:
            raise ValueError(f"{self.config}: cache.redis_url must be set for a cluster")
        return url


def build_gateway(args: Args) -> Application:
    """The HTTP endpoint."""
    settings = args.settings()
    return GATEWAY.options(
        num_replicas=settings.server.gateway_replicas,
        logging_config=_QUIET,
        max_ongoing_requests=_MANY,
        graceful_shutdown_timeout_s=settings.limits.request_timeout_s,
        ray_actor_options=_control_options(settings),
    ).bind(settings, args.home_folder(), args.redis(settings), profiles_of(settings))


def build_router(args: Args) -> Application:
    """The learned-difficulty router."""
    settings = args.settings()
    scored = not SCORED.isdisjoint(settings.router.strategies)
    weights = settings.router.weights.absolute() if scored else None
    return ROUTER.options(
        logging_config=_QUIET,
        max_ongoing_requests=_MANY,
        ray_actor_options=_control_options(settings),
        health_check_period_s=2,
        **_scale(settings.router.replicas, target=16),
    ).bind(
        weights,
        settings.log_level,
        settings.router.memory,
        args.redis(settings),
        settings.router.embed_timeout_s,
        settings.cache.semantic and settings.cache.exact,
    )


def build_ledger(args: Args) -> Application:
    """The ledger's drain."""
    settings = args.settings()
    database = database_url(settings.ledger, args.home_folder())
    return LEDGER.options(
        num_replicas=1,
        logging_config=_QUIET,
        health_check_period_s=1,
        ray_actor_options=_control_options(settings, _where(database)),
    ).bind(settings, args.redis(settings), database.render_as_string(hide_password=False))


def _control_options(settings: Settings, more: dict[str, float] | None = None) -> dict[str, object]:
    """Ray resources for gateway, router and ledger; keeps them off autoscaled nodes."""
    return {
        "num_cpus": _CONTROL_CPUS,
        "resources": {**settings.server.node_resources, **(more or {})},
    }


def _where(database: URL) -> dict[str, float]:
    """SQLite is a file: the drain stays on the node whose disk holds it."""
    return {"node:__internal_head__": 0.001} if database.get_backend_name() == "sqlite" else {}


def build_tier(args: Args) -> Application:
    """One tier's engines."""
    settings = args.settings()
    if args.tier is None:
        raise ValueError("build_tier needs `tier`")
    tier = settings.tier(args.tier)
    profile = profile_of(settings, tier)
    return ENGINE.options(
        logging_config=_QUIET,
        max_ongoing_requests=tier.max_ongoing_requests,
        health_check_period_s=2,
        health_check_timeout_s=30,
        graceful_shutdown_timeout_s=settings.limits.request_timeout_s,
        ray_actor_options=_actor_options(tier),
        **_gpu_group(tier),
        **scale_options(tier, profile, settings.log_level, budget_of(settings)),
    ).bind(tier, args.home_folder(), settings.log_level, profile.prefill_tokens_per_s)


def _actor_options(tier: Tier) -> dict[str, object]:
    env = dict(tier.engine.env) if isinstance(tier.engine, VllmEngine) else {}
    return {
        "num_cpus": tier.cpus_per_replica,
        "num_gpus": tier.accelerator.per_replica,
        "resources": dict(tier.node_resources),
        "runtime_env": {"env_vars": env},
    }


def _gpu_group(tier: Tier) -> dict[str, object]:
    """A replica on several GPUs reserves them together: one bundle, and so one node.

    The engine's own processes share them out (docs/decisions/0010-one-bundle-per-gpu-group.md).
    """
    if tier.accelerator.per_replica < 2:
        return {}
    return {"placement_group_bundles": [needs(tier)], "placement_group_strategy": "STRICT_PACK"}


def _scale(replicas: Replicas, target: int) -> dict[str, object]:
    """A fixed number, or Serve's own autoscaling between the two bounds."""
    if replicas.min == replicas.max:
        return {"num_replicas": replicas.min}
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=replicas.min, max_replicas=replicas.max, target_ongoing_requests=target
        )
    }
