"""Turn a tier's settings into Ray Serve's autoscaling, and choose its profile.

Serve's own delays and factors are switched off (0 and 1): the policy has its own. Its look-back is
short, because only the last value of each series is read.
"""

from collections.abc import Mapping

from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from autoscale.calibrate.profiles import pick
from autoscale.capacity.fit import fit, sizable
from autoscale.live.adapter import told_rules
from autoscale.policy.gpu_budget import GpuAllotment, TierPart
from autoscale.policy.profile import EngineProfile
from autoscale.policy.rules import rules_of
from core.settings.load import Settings, SimulatedEngine, Tier

REPORT_EVERY_S = 0.25
_LOOK_BACK_S = 5 * REPORT_EVERY_S  # Serve samples every fifth of it, or more often
_SIMULATED_PROMPT_TOKENS = 500
# Serve's own part of a replica's start on a node that is there: a process, imports, health.
_PROCESS_S = (1.5, 4.0)
# What the rest of a start takes is not known: a model of tens of GB from a local disk.
_GPU_DEFAULT = EngineProfile(
    name="default-gpu",
    source="Nothing measured: about half of what an 8B model does on one L40S.",
    base_s=0.04,
    per_sequence_s=2e-4,
    per_kv_token_s=3e-7,
    prefill_tokens_per_s=4000,
    chunk_tokens=512,
    kv_tokens=50_000,
    cold_start_s=(60.0, 180.0),
    node_start_s=180.0,
)
_CPU_DEFAULT = EngineProfile(
    name="default-cpu",
    source="Nothing measured: a model of half a billion parameters on two slow cores.",
    base_s=0.05,
    per_sequence_s=5e-3,
    per_kv_token_s=1e-6,
    prefill_tokens_per_s=400,
    chunk_tokens=512,
    kv_tokens=16_384,
    max_sequences=16,
    block_tokens=32,
    cold_start_s=(20.0, 60.0),
    node_start_s=0.0,
    gpus=0,
)


def scales(tier: Tier) -> bool:
    """Whether the number of the tier's replicas is not fixed."""
    return tier.replicas.min != tier.replicas.max


def sleeps(tier: Tier) -> bool:
    """Whether the tier may have no replica at all."""
    return tier.replicas.min == 0


def budget_of(settings: Settings) -> GpuAllotment | None:
    """The GPUs that the tiers share; None where each has its own bounds alone."""
    if settings.cluster.max_gpus is None:
        return None
    parts = {
        tier.name: TierPart(tier.accelerator.per_replica, tier.floor) for tier in settings.tiers
    }
    return GpuAllotment(settings.cluster.max_gpus, parts)


def scale_options(
    tier: Tier, profile: EngineProfile, log_level: str, budget: GpuAllotment | None = None
) -> Mapping[str, object]:
    """Serve's deployment options for a tier: a fixed number, or the policy between the bounds."""
    if not scales(tier):
        return {"num_replicas": tier.replicas.min}
    policy = AutoscalingPolicy(
        policy_function="autoscale.live.ray_policy:TierPolicy",
        policy_kwargs={
            "tier": tier.name,
            "rules": told_rules(rules_of(tier)),
            "profile": profile.model_dump(mode="json"),
            "log_level": log_level,
            "budget": None if budget is None else budget.told(),
        },
    )
    config = AutoscalingConfig(
        min_replicas=tier.replicas.min,
        max_replicas=tier.replicas.max,
        metrics_interval_s=REPORT_EVERY_S,
        look_back_period_s=_LOOK_BACK_S,
        upscaling_factor=1.0,
        downscaling_factor=1.0,
        upscale_delay_s=0.0,
        downscale_delay_s=0.0,
        downscale_to_zero_delay_s=0.0,
        policy=policy,
    )
    return {"autoscaling_config": config}


def profiles_of(settings: Settings) -> dict[str, EngineProfile]:
    """Each tier's profile; `HansomError` for a name that `settings.profiles` does not have."""
    return {tier.name: profile_of(settings, tier) for tier in settings.tiers}


def profile_of(settings: Settings, tier: Tier) -> EngineProfile:
    """The tier's profile by its name, of its simulated engine, or a careful default."""
    if tier.profile is not None:
        return pick(settings.profiles, tier.profile)
    if isinstance(tier.engine, SimulatedEngine):
        return simulated(tier, tier.engine)
    if not tier.accelerator.per_replica:
        return _CPU_DEFAULT
    changes: dict[str, object] = {
        "gpus": tier.accelerator.per_replica, "max_sequences": tier.max_ongoing_requests,
    }  # fmt: skip
    if sizable(tier):
        changes["kv_tokens"] = max(1, fit(tier).kv_tokens_available)
    return _GPU_DEFAULT.model_copy(update=changes)


def simulated(tier: Tier, engine: SimulatedEngine) -> EngineProfile:
    """What a simulated engine does: each of its slots plays at the set pace, alone."""
    slots = engine.max_concurrent
    return EngineProfile(
        name=f"simulated-{tier.name}",
        source="The tier's own settings.",
        base_s=max(engine.tpot_s, 1e-3),
        per_sequence_s=0.0,
        per_kv_token_s=0.0,
        prefill_tokens_per_s=slots * _SIMULATED_PROMPT_TOKENS / max(engine.ttft_s, 5e-3),
        chunk_tokens=_SIMULATED_PROMPT_TOKENS,
        kv_tokens=slots * engine.context_tokens,
        max_sequences=slots,
        block_tokens=1,
        watermark=0.0,
        cold_start_s=(engine.start_s + _PROCESS_S[0], engine.start_s + _PROCESS_S[1]),
        node_start_s=0.0,
        gpus=0,
    )
