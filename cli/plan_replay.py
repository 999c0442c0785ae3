"""`hansom plan replay`: a trace through one policy or all, as a table, JSON or a picture."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import typer
from rich.table import Column, Table

from autoscale.replay.policies import POLICIES, Policy, PolicyChoice, run
from autoscale.replay.replay import Setup
from autoscale.replay.result import ReplayResult
from autoscale.replay.trace import Trace, read
from cli.tables import show_table, terminal
from core.errors import HansomError


@dataclass(frozen=True, slots=True)
class PlanReplayOptions:
    """What was asked for; `policy` may be `all`."""

    path: Path
    scale: float
    policy: str
    replicas: int | None
    target: float | None
    setup: Setup


def show(asked: PlanReplayOptions, plot: Path | None, *, as_json: bool) -> None:
    """Replay, print, and draw where a picture is asked for."""
    trace = read(asked.path).scaled(asked.scale, asked.setup.seed)
    if not len(trace):
        raise HansomError(f"{asked.path} scaled by {asked.scale:g} has no requests left")
    policies = POLICIES if asked.policy == "all" else (cast(Policy, asked.policy),)
    found = {
        name: run(trace, PolicyChoice(name, asked.target, asked.replicas), asked.setup)
        for name in policies
    }
    if plot is not None:
        _draw(trace, found, asked.setup, plot)
    if as_json:
        typer.echo(json.dumps(_told(asked, trace, found)))
    else:
        _print(asked, trace, found)


def _told(
    asked: PlanReplayOptions, trace: Trace, found: dict[Policy, ReplayResult]
) -> dict[str, object]:
    """One policy's figures at the top; `policies` of several."""
    about: dict[str, object] = {
        "trace": trace.name,
        "scale": asked.scale,
        "profile": asked.setup.profile.name,
        "routing": asked.setup.routing,
        "order": asked.setup.order,
        "seed": asked.setup.seed,
        "remark": trace.remark,
        "slo": asked.setup.slo.model_dump(),
    }
    if asked.policy == "all":
        rows = [{"policy": name} | result.as_dict() for name, result in found.items()]
        return about | {"policies": rows}
    ((name, result),) = found.items()
    return {"policy": name} | result.as_dict() | about


def _print(asked: PlanReplayOptions, trace: Trace, found: dict[Policy, ReplayResult]) -> None:
    columns = ("within SLO", "GPU-hours", "cost", "moves", "mean", "peak",
               "TTFT p50", "p95", "p99", "TPOT p50", "p95", "p99")  # fmt: skip
    first = next(iter(found.values()))
    table = Table(
        Column("policy", no_wrap=True),
        *(Column(name, justify="right") for name in columns),
        title=f"{trace.name} x{asked.scale:g}: {len(trace):,} requests in {first.hours:.2f} h",
    )
    for name, one in found.items():
        table.add_row(
            name,
            f"{one.slo_attainment:.2%}",
            f"{one.gpu_hours:,.2f}",
            f"{one.usd:,.2f} USD",
            f"{one.replica_moves:,}",
            f"{one.mean_replicas:.1f}",
            f"{one.peak_replicas}",
            *(_seconds(value) for value in (one.ttft_s_p50, one.ttft_s_p95, one.ttft_s_p99)),
            *(_millis(value) for value in (one.tpot_s_p50, one.tpot_s_p95, one.tpot_s_p99)),
        )
    console = terminal()
    show_table(table, console)
    setup, slo = asked.setup, asked.setup.slo
    alone = f" + {slo.ttft_factor:g} x alone" if slo.ttft_factor else ""
    console.print(
        f"[dim]SLO: TTFT {slo.ttft_s:g} s{alone}, TPOT {1000 * slo.tpot_s:g} ms; the first "
        f"{first.requests - first.judged:,} requests are not judged. {setup.profile.name}, "
        f"routing by {setup.routing}, order {setup.order}, seed {setup.seed}. USD at "
        f"{setup.profile.usd_per_hour:g} an hour and replica.[/dim]"
    )
    if trace.remark:
        console.print(f"{trace.name}: {trace.remark}.")
    for name, one in found.items():
        if one.cached_input_share > 0:
            console.print(f"{name}: {one.cached_input_share:.1%} of prompt tokens were cached.")
        if one.held or one.refused or one.unserved:
            console.print(
                f"{name}: {one.held:,} requests were held for a replica, {one.refused:,} are "
                f"larger than a KV cache, {one.unserved:,} were never served."
            )


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _millis(value: float) -> str:
    return f"{1000 * value:.1f} ms"


def _draw(trace: Trace, found: dict[Policy, ReplayResult], setup: Setup, path: Path) -> None:
    from cli.plan_plot import draw

    try:
        draw(trace, found, setup, path)
    except (OSError, ValueError) as error:
        raise HansomError(f"{path} cannot be drawn: {error}") from error
