"""`hansom plan capacity`: replicas, nodes and cost of the days to come, and what-ifs."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from autoscale.calibrate.profiles import load
from autoscale.capacity.forecast import Margin, TierPlan
from autoscale.capacity.replica_capacity import limits
from autoscale.capacity.scenario import Solved, TierSpec, solve
from autoscale.capacity.season import SeasonForecast
from autoscale.policy.profile import Slo
from autoscale.replay.replay import ROUTINGS, Routing, Setup
from cli import plan_capacity_print
from cli.plan_capacity_asked import PlanCapacityOptions
from cli.plan_capacity_inputs import CapacityFigures, reckon
from cli.plan_capacity_source import source
from core.errors import HansomError


@dataclass(frozen=True, slots=True)
class CapacityAnswer:
    """What the command prints: the plan as things are first, then the what-ifs."""

    reckoned: CapacityFigures
    solved: Solved
    what_ifs: tuple[Solved, ...]
    slo: Slo
    seconds: float

    @property
    def replays(self) -> int:
        """Replay today's fleets, by tier."""
        return sum(one.replays for one in self.solved.today.values())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        plan = self.solved.plan
        specs = {one.name: one for one in self.solved.scenario.tiers}
        last = len(plan.tiers[0].days) - 1
        return {
            "tiers": [self._tier(tier, specs[tier.name]) for tier in plan.tiers],
            "usd_per_hour": plan.usd_per_hour(0).as_dict(),
            "usd_per_month": plan.usd_per_month(0).as_dict(),
            "usd_per_month_at_the_end": plan.usd_per_month(last).as_dict(),
            "next_gpu": plan.next_gpu.as_dict(),
            "what_ifs": [what_if(one, self.solved) for one in self.what_ifs],
            "inputs": [
                {"name": one.name, "value": one.value, "source": one.source}
                for one in self.reckoned.inputs
            ],
            "notes": list(self.reckoned.notes),
            "seconds": self.seconds,
        }

    def _tier(self, tier: TierPlan, spec: TierSpec) -> dict[str, Any]:
        shape, today = spec.design.shape, self.solved.today[tier.name]
        most = limits(spec.profile, self.slo, shape.input_tokens, shape.output_tokens)
        return {
            "name": tier.name,
            "profile": spec.profile.name,
            "node": tier.node.name,
            "replicas_on_a_node": tier.node.replicas,
            "today": {
                "replicas": today.replicas,
                "slo_attainment": today.slo_attainment,
                "slo_attainment_worst_hour": today.worst_hour,
            },
            "steady_requests_per_s_of_a_replica": {
                "tpot": most.tpot, "kv": most.kv, "sequences": most.sequences, "chunk": most.chunk,
            },
            "nodes_there": tier.have,
            "next_gpu": tier.next_gpu.as_dict(),
            "tokens_in_the_highest_hour": {
                "input": _tokens(spec.design.inputs, spec.factor),
                "output": _tokens(spec.design.outputs, spec.factor),
            },
            "days": [day.as_dict() for day in tier.days],
        }  # fmt: skip


def show(asked: PlanCapacityOptions, slo: Slo, plot: Path | None, *, as_json: bool) -> None:
    """Plan, print, and draw where a picture is asked for."""
    began_s = time.perf_counter()
    routing: dict[str, Routing] = {name: name for name in ROUTINGS}
    reckoned = reckon(asked, slo, source(asked))
    setup = Setup(
        load(asked.profile_file)[0], slo, routing[asked.routing], seed=asked.seed,
        max_replicas=asked.max_replicas,
    )  # fmt: skip
    margin = Margin(asked.headroom_percent / 100, asked.failures)
    base, *others = solve((reckoned.base, *reckoned.what_ifs), setup, margin, asked.slo_share)
    answer = CapacityAnswer(reckoned, base, tuple(others), slo, time.perf_counter() - began_s)
    if plot is not None:
        _draw(answer.solved, plot)
    if as_json:
        typer.echo(json.dumps(answer.as_dict()))
    else:
        plan_capacity_print.answer(
            base, [what_if(one, base) for one in others], reckoned, answer.seconds
        )


def what_if(other: Solved, base: Solved) -> dict[str, Any]:
    """What a change does on the first day: expected counts, and what the upper bound costs."""
    month, was = other.plan.usd_per_month(0), base.plan.usd_per_month(0)
    return {
        "change": other.scenario.change,
        "replicas": _counts(other.plan.tiers),
        "replicas_as_it_is": _counts(base.plan.tiers),
        "nodes": {tier.name: tier.days[0].nodes.as_dict() for tier in other.plan.tiers},
        "usd_per_month": month.as_dict(),
        "usd_per_month_more": {
            "lower": month.lower - was.lower,
            "expected": month.expected - was.expected,
            "upper": month.upper - was.upper,
        },
        "next_gpu": other.plan.next_gpu.as_dict(),
    }


def _counts(tiers: Sequence[TierPlan]) -> dict[str, dict[str, float]]:
    return {tier.name: tier.days[0].replicas.as_dict() for tier in tiers}


def _tokens(told: SeasonForecast, factor: float) -> dict[str, list[float]]:
    peaks = told.peaks
    return {
        name: [round(value * factor) for value in band.tolist()]
        for name, band in (
            ("lower", peaks.lower), ("expected", peaks.middle), ("upper", peaks.upper),
        )
    }  # fmt: skip


def _draw(solved: Solved, path: Path) -> None:
    from cli.plan_capacity_plot import draw

    try:
        draw(solved.plan, path)
    except (OSError, ValueError) as error:
        raise HansomError(f"{path} cannot be drawn: {error}") from error
