"""The options of `hansom plan capacity`.

The modules that do the work are imported when the command runs: `hansom --help` stays quick.
"""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    DEFAULT_CONFIG,
    DEFAULT_MACHINES,
    DEFAULT_PROFILES,
    FILE,
    MOST_SEED,
    AsJson,
    Config,
    Hours,
    Machines,
    Plot,
    Profiles,
)


def capacity_command(
    trace: Annotated[
        Path | None,
        typer.Argument(
            metavar=FILE, help="Parquet or CSV with `t_seconds`, `input_tokens`, `output_tokens`."
        ),
    ] = None,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="Take load, mix and hit rate from the ledger.")
    ] = False,
    hours: Hours = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="A profile, or TIER=PROFILE for each tier.")
    ] = None,
    share: Annotated[
        list[str] | None, typer.Option(help="TIER=SHARE of what no cache answers.")
    ] = None,
    quality: Annotated[
        Path | None,
        typer.Option(metavar=FILE, help="The last tier's share, from `hansom router calibrate`."),
    ] = None,
    hit_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of requests that a cache answers.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=730, help="How far ahead.")] = 90,
    growth: Annotated[
        float | None,
        typer.Option(min=-100, max=1000, help="Percent a month; the history's own if left out."),
    ] = None,
    launch: Annotated[
        list[str] | None, typer.Option(help="DATE:FACTOR:NAME, the load from that day on.")
    ] = None,
    ended: Annotated[
        str | None, typer.Option(help="UTC day or moment that the trace ended; now if left out.")
    ] = None,
    scale: Annotated[
        float, typer.Option(min=0, max=1000, help="Multiply the trace's request rate by this.")
    ] = 1.0,
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
    slo_share: Annotated[
        float, typer.Option(min=0, max=1, help="Requests of a day within the SLO.")
    ] = 0.99,
    nodes: Annotated[
        list[str] | None, typer.Option(help="A machine of the table, or TIER=MACHINE.")
    ] = None,
    have: Annotated[
        list[str] | None, typer.Option(help="Nodes that are there, or TIER=NODES.")
    ] = None,
    headroom: Annotated[
        float, typer.Option(min=0, max=10_000, help="Percent of load on top.")
    ] = 0.0,
    failures: Annotated[
        int, typer.Option(min=0, max=10_000, help="Nodes of a tier that may be gone.")
    ] = 1,
    coverage: Annotated[float, typer.Option(min=0, max=1, help="Of the forecast's bands.")] = 0.9,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            help="quantization=[TIER:]PROFILE, quality=SHARE or FILE, hit-rate=SHARE, "
            "model=NAME:PROFILE:SHARE. May be repeated."
        ),
    ] = None,
    routing: Annotated[
        str, typer.Option(help="Of requests to replicas: prefix, tokens, ongoing or pow2.")
    ] = "prefix",
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the scaled trace.")] = 0,
    max_replicas: Annotated[int, typer.Option(min=1, max=100_000, help="Never more.")] = 2000,
    plot: Plot = None,
    profiles: Profiles = DEFAULT_PROFILES,
    machines: Machines = DEFAULT_MACHINES,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Plan replicas, nodes and cost of the days to come.

    With the day on which the next GPU is needed, and what a change would do.
    """
    from cli.plan_capacity import show
    from cli.plan_capacity_asked import PlanCapacityOptions, slo_of

    asked = PlanCapacityOptions(
        trace=trace,
        from_ledger=from_ledger,
        hours=hours,
        profiles=tuple(profile or ()),
        shares=tuple(share or ()),
        quality=quality,
        hit_rate=hit_rate,
        days=days,
        growth_percent=growth,
        launches=tuple(launch or ()),
        ended=ended,
        scale=scale,
        slo_share=slo_share,
        nodes=tuple(nodes or ()),
        have=tuple(have or ()),
        headroom_percent=headroom,
        failures=failures,
        coverage=coverage,
        what_ifs=tuple(what_if or ()),
        routing=routing,
        seed=seed,
        max_replicas=max_replicas,
        profile_file=profiles,
        machine_file=machines,
        config=config,
    ).checked()
    show(asked, slo_of(slo_ttft, slo_ttft_factor, slo_tpot), plot, as_json=as_json)
