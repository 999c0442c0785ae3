"""The options of `hansom plan`: what a trace would need, and how fast the engine is.

The modules that do the work are imported when a command runs: `hansom --help` stays quick.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.command import Commands
from cli.options import (
    DEFAULT_CONFIG,
    DEFAULT_PROFILES,
    FILE,
    MOST_SEED,
    NEW_FILE,
    AsJson,
    Config,
    Key,
    Plot,
    Profiles,
    Url,
)
from cli.plan_capacity_options import capacity_command
from cli.usage import UsageError

plan = Commands("Replay a trace, measure the engine, plan capacity.")
plan.command("capacity")(capacity_command)


class PolicyName(StrEnum):
    """Names of scaling policies."""

    OURS = "ours"
    RAY = "ray"
    RAY_DAMPED = "ray-damped"
    FIXED = "fixed"
    FORESIGHT = "foresight"
    ALL = "all"


class RoutingName(StrEnum):
    """Which replica a request goes to."""

    PREFIX = "prefix"
    TOKENS = "tokens"
    ONGOING = "ongoing"
    POW2 = "pow2"


class OrderName(StrEnum):
    """Names of queue orders of an engine."""

    LATE_LAST = "late-last"
    FCFS = "fcfs"


@plan.command("replay")
def replay_command(
    trace: Annotated[
        Path,
        typer.Argument(
            metavar=FILE, help="Parquet or CSV with `t_seconds`, `input_tokens`, `output_tokens`."
        ),
    ],
    scale: Annotated[
        float, typer.Option(min=0, max=1000, help="Multiply the trace's request rate by this.")
    ] = 1.0,
    policy: Annotated[
        PolicyName, typer.Option(help="Who scales; `all` sets them side by side.")
    ] = PolicyName.OURS,
    profile: Annotated[str, typer.Option(help="A profile of the file.")] = "A100-8B",
    routing: Annotated[
        RoutingName,
        typer.Option(help="By tokens less cached ones, tokens, requests, or two drawn, as Ray."),
    ] = RoutingName.PREFIX,
    order: Annotated[
        OrderName, typer.Option(help="Of an engine's queue: late calls last, or as they came.")
    ] = OrderName.LATE_LAST,
    replicas: Annotated[
        int | None,
        typer.Option(
            min=0, max=10_000, help="Of the fixed fleet; what the peak needs if left out."
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(min=0, max=1_000_000, help="Ray's ongoing requests for each replica."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Of start-up times, routing and scale.")
    ] = 0,
    slo_ttft: Annotated[
        float, typer.Option(min=0, max=86_400, help="TTFT allowed, seconds.")
    ] = 2.0,
    slo_tpot: Annotated[
        float, typer.Option(min=0, max=86_400, help="TPOT allowed, seconds.")
    ] = 0.1,
    slo_ttft_factor: Annotated[
        float,
        typer.Option(min=0, max=1000, help="Plus so many times the TTFT of the request alone."),
    ] = 0.0,
    min_replicas: Annotated[
        int,
        typer.Option(min=0, max=10_000, help="Never fewer; with 0 an idle tier may go to zero."),
    ] = 1,
    max_replicas: Annotated[int, typer.Option(min=1, max=10_000, help="Never more.")] = 200,
    plot: Plot = None,
    profiles: Profiles = DEFAULT_PROFILES,
    as_json: AsJson = False,
) -> None:
    """Replay a trace under a scaling policy.

    Shows SLO attainment, GPU-hours and cost, beside those of other policies.
    """
    from autoscale.calibrate.profiles import pick
    from autoscale.policy.profile import Slo
    from autoscale.replay.replay import Setup
    from cli.plan_replay import PlanReplayOptions, show

    for name, value in (("--slo-ttft", slo_ttft), ("--slo-tpot", slo_tpot)):
        if not value > 0:
            raise UsageError(f"{name} must be above 0 (got {value:g}).")
    if target is not None and not target > 0:
        raise UsageError(f"--target must be above 0 (got {target:g}).")
    slo = Slo(ttft_s=slo_ttft, ttft_factor=slo_ttft_factor, tpot_s=slo_tpot)
    if min_replicas > max_replicas:
        raise UsageError(f"--min-replicas {min_replicas} is above --max-replicas {max_replicas}.")
    setup = Setup(
        pick(profiles, profile), slo, routing.value, seed=seed,
        min_replicas=min_replicas, max_replicas=max_replicas, order=order.value,
    )  # fmt: skip
    asked = PlanReplayOptions(trace, scale, policy.value, replicas, target, setup)
    show(asked, plot, as_json=as_json)


@plan.command("calibrate")
def calibrate_command(
    tier: Annotated[str, typer.Option(help="The tier or model to measure.")],
    profile: Annotated[str, typer.Option(help="The profile to write.")] = "laptop",
    prompts: Annotated[
        str, typer.Option(help="Prompt lengths to try, tokens.")
    ] = "64,128,256,512,1024",
    at_once: Annotated[str, typer.Option(help="How many requests at once.")] = "1,2,4,8",
    output_tokens: Annotated[int, typer.Option(min=2, max=100_000, help="Of each answer.")] = 48,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Of each measurement.")] = 3,
    engine_metrics: Annotated[
        str | None, typer.Option(help="URL of the engine's metrics, for its KV tokens.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, write nothing.")] = False,
    key: Key = None,
    url: Url = None,
    profiles: Annotated[
        Path,
        typer.Option(
            metavar=NEW_FILE,
            help="The file to write it to.",
            show_default="the shipped profiles.yaml",
        ),
    ] = DEFAULT_PROFILES,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Measure a running tier and write its profile."""
    from autoscale.calibrate.measure import Where
    from cli.endpoint import base_url
    from cli.plan_calibrate import PlanCalibrateOptions, calibrate, engine_limits, kv_of, numbers
    from core.settings.load import load

    chunk = sequences = None
    kv: dict[str, float] = {}
    if url is None:
        settings = load(config)
        url = base_url(settings)
        chunk, sequences = engine_limits(settings.tiers, tier)
        kv = kv_of(settings.tiers, tier)
    many = numbers(at_once, "--at-once")
    asked = PlanCalibrateOptions(
        Where(url, tier, key, max(many)), numbers(prompts, "--prompts"), many,
        output_tokens, repeats, engine_metrics, chunk, sequences, kv,
    )  # fmt: skip
    calibrate(asked, profile, profiles, write=not dry_run, as_json=as_json)
