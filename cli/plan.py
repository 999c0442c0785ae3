"""The options of `hansom plan`: what a trace would need, and how fast the engine is.

The modules that do the work are imported when a command runs: `hansom --help` stays quick.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEFAULT_CONFIG, AsJson, Config
from cli.plan_capacity_options import capacity_command

plan = typer.Typer(no_args_is_help=True, help="Replay a trace, measure the engine, plan capacity.")
plan.command("capacity")(capacity_command)

DEFAULT_PROFILES = Path("config/profiles.yaml")

Profiles = Annotated[Path, typer.Option(help="The file of engine profiles.")]


class PolicyName(StrEnum):
    """Who decides how many replicas there are."""

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
    """Who goes first in an engine's queue."""

    LATE_LAST = "late-last"
    FCFS = "fcfs"


@plan.command("replay")
def replay_command(
    trace: Annotated[
        Path, typer.Argument(help="Parquet with `t_seconds`, `input_tokens`, `output_tokens`.")
    ],
    scale: Annotated[float, typer.Option(help="So many times the requests.")] = 1.0,
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
        int | None, typer.Option(min=0, help="Of the fixed fleet; what the peak needs if left out.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Ray's ongoing requests for each replica.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of start-up times, routing and scale.")] = 0,
    slo_ttft: Annotated[float, typer.Option(help="TTFT allowed, seconds.")] = 2.0,
    slo_tpot: Annotated[float, typer.Option(help="TPOT allowed, seconds.")] = 0.1,
    slo_ttft_factor: Annotated[
        float, typer.Option(help="Plus so many times the TTFT of the request alone.")
    ] = 0.0,
    min_replicas: Annotated[
        int, typer.Option(min=0, help="Never fewer; with 0 an idle tier may go to zero.")
    ] = 1,
    max_replicas: Annotated[int, typer.Option(min=1, help="Never more.")] = 200,
    plot: Annotated[
        Path | None, typer.Option(help="Draw load, replicas and SLO: .svg or .png.")
    ] = None,
    profiles: Profiles = DEFAULT_PROFILES,
    as_json: AsJson = False,
) -> None:
    """What a policy would have done with a trace: SLO attainment, GPU-hours, cost."""
    from autoscale.profile import Slo
    from autoscale.profiles import pick
    from autoscale.replay import Setup
    from cli.plan_replay import Asked, show
    from core.errors import HansomError

    for name, value in (("--slo-ttft", slo_ttft), ("--slo-tpot", slo_tpot)):
        if not value > 0:
            raise HansomError(f"{name} must be above 0 (got {value:g}).")
    if slo_ttft_factor < 0:
        raise HansomError(f"--slo-ttft-factor must be 0 or more (got {slo_ttft_factor:g}).")
    if target is not None and not target > 0:
        raise HansomError(f"--target must be above 0 (got {target:g}).")
    slo = Slo(ttft_s=slo_ttft, ttft_factor=slo_ttft_factor, tpot_s=slo_tpot)
    if min_replicas > max_replicas:
        raise HansomError(f"--min-replicas {min_replicas} is above --max-replicas {max_replicas}.")
    setup = Setup(
        pick(profiles, profile), slo, routing.value, seed=seed,
        min_replicas=min_replicas, max_replicas=max_replicas, order=order.value,
    )  # fmt: skip
    asked = Asked(trace, scale, policy.value, replicas, target, setup)
    show(asked, plot, as_json=as_json)


@plan.command("calibrate")
def calibrate_command(
    tier: Annotated[str, typer.Option(help="The tier or model to measure.")],
    profile: Annotated[str, typer.Option(help="The profile to write.")] = "laptop",
    prompts: Annotated[
        str, typer.Option(help="Prompt lengths to try, tokens.")
    ] = "64,128,256,512,1024",
    at_once: Annotated[str, typer.Option(help="How many requests at once.")] = "1,2,4,8",
    output_tokens: Annotated[int, typer.Option(min=2, help="Of each answer.")] = 48,
    repeats: Annotated[int, typer.Option(min=1, help="Of each measurement.")] = 3,
    engine_metrics: Annotated[
        str | None, typer.Option(help="URL of the engine's metrics, for its KV tokens.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, write nothing.")] = False,
    api_key: Annotated[str | None, typer.Option(envvar="HANSOM_API_KEY")] = None,
    url: Annotated[str | None, typer.Option(help="Another endpoint than the settings'.")] = None,
    profiles: Profiles = DEFAULT_PROFILES,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Measure the running tier over HTTP, and write its profile with date and source."""
    from autoscale.measure import Where
    from cli.plan_calibrate import Asked, calibrate, engine_limits, numbers
    from core.settings import load

    chunk = sequences = None
    if url is None:
        settings = load(config)
        url = f"http://127.0.0.1:{settings.server.port}"
        chunk, sequences = engine_limits(settings.tiers, tier)
    many = numbers(at_once, "--at-once")
    asked = Asked(
        Where(url, tier, api_key, max(many)), numbers(prompts, "--prompts"), many,
        output_tokens, repeats, engine_metrics, chunk, sequences,
    )  # fmt: skip
    calibrate(asked, profile, profiles, write=not dry_run, as_json=as_json)
