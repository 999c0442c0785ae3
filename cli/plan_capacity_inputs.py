"""What `hansom plan capacity` reckons with: tiers, what-ifs, and for every input its source.

Promised: an input is from the trace, the ledger, the profile file, the machine table, the command
line, or a named assumption, and says which. A mistake raises `HansomError` with one sentence.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autoscale.calibrate.profiles import pick
from autoscale.capacity.design import Design, design
from autoscale.capacity.forecast import NodeKind
from autoscale.capacity.replica_capacity import limits
from autoscale.capacity.scenario import Scenario, TierSpec
from autoscale.capacity.season_fit import Assumed
from autoscale.policy.profile import EngineProfile, Slo
from cli.cost_inputs import GIVEN, Input
from cli.plan_capacity_asked import PlanCapacityOptions, by_tier, count, ratio
from cli.plan_capacity_source import Source
from cli.usage import UsageError
from core.errors import HansomError
from core.files import text_file
from core.files.problem import missing
from core.settings.machines import Machine, load_machines
from ledger.reports.span import moment

DEFAULT_PROFILE = "A100-8B"
_NONE = "assumption: none"
_OWN_NODE = "assumption: a node for each replica, at the profile's price"


@dataclass(frozen=True, slots=True)
class CapacityFigures:
    """The plan as things are, the what-ifs, and what they rest on."""

    base: Scenario
    what_ifs: tuple[Scenario, ...]
    inputs: tuple[Input, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Mix:
    """Shares of what no cache answers, by tier, and the share that caches do."""

    shares: Mapping[str, float]
    hit_rate: float


def reckon(asked: PlanCapacityOptions, slo: Slo, source: Source) -> CapacityFigures:
    """From the options and the load."""
    profiles = _profiles(asked, source)
    tiers = tuple(profiles)
    mix, said = _mix(asked, source, tiers)
    growth = None if asked.growth_percent is None else asked.growth_percent / 100
    assumed = Assumed(growth, asked.launched())
    designs = _designs(asked, slo, source, profiles, assumed)
    kinds = by_tier("--nodes", asked.nodes, tiers, str)
    machines = load_machines(asked.machine_file).machines if kinds else {}
    nodes = {tier: _node(profiles[tier], kinds.get(tier), machines) for tier in tiers}
    have = by_tier("--have", asked.have, tiers, lambda text: count("--have", text))
    specs = tuple(
        TierSpec(
            tier, designs[tier], profiles[tier], _factor(source, mix, tier), nodes[tier],
            have.get(tier),
        )
        for tier in tiers
    )  # fmt: skip
    base = Scenario("as it is", specs)
    what_ifs = tuple(_what_if(text, base, mix, asked, source, machines) for text in asked.what_ifs)
    inputs = [
        *source.inputs,
        *said,
        *(one for n, spec in enumerate(specs) for one in _tier_inputs(spec, slo, source, n, specs)),
        *(_node_input(spec, machines) for spec in specs),
        *_assumed_inputs(asked, slo, assumed, designs[tiers[0]]),
    ]
    notes = tuple(dict.fromkeys(note for one in designs.values() for note in one.notes))
    return CapacityFigures(base, what_ifs, tuple(inputs), notes)


def _designs(
    asked: PlanCapacityOptions,
    slo: Slo,
    source: Source,
    profiles: Mapping[str, EngineProfile],
    assumed: Assumed,
) -> dict[str, Design]:
    """By tier; tiers with the same requests share one, made with the first one's profile."""
    made: dict[int, Design] = {}
    for tier, profile in profiles.items():
        trace = source.trace(tier)
        if id(trace) not in made:
            made[id(trace)] = design(
                trace, profile, slo, source.end_s, asked.days, assumed, asked.coverage,
                source.spans_s.get(tier),
            )  # fmt: skip
    return {tier: made[id(source.trace(tier))] for tier in profiles}


def _profiles(asked: PlanCapacityOptions, source: Source) -> dict[str, EngineProfile]:
    """Each tier's; the tiers are those of the ledger, or those that the options name."""
    texts = asked.profiles or (DEFAULT_PROFILE,)
    named = [text.partition("=")[0] for text in texts if "=" in text]
    tiers = list(source.traces) or named or ["all"]
    found = by_tier("--profile", texts, tiers, lambda name: pick(asked.profile_file, name))
    if missing := [tier for tier in tiers if tier not in found]:
        raise UsageError(f"--profile: say TIER=PROFILE for {', '.join(missing)}, too.")
    return {tier: found[tier] for tier in tiers}


def _mix(
    asked: PlanCapacityOptions, source: Source, tiers: tuple[str, ...]
) -> tuple[_Mix, list[Input]]:
    told = by_tier("--share", asked.shares, tiers, lambda text: ratio("--share", text))
    seen = source.words if source.shares else _NONE
    if asked.quality is not None:
        shares = _to_strong(dict.fromkeys(tiers, 1.0), strong_share(asked.quality))
        seen = f"measurement: {asked.quality.name} of `hansom router calibrate`"
    elif told:
        rest = [tier for tier in tiers if tier not in told]
        left = 1 - sum(told.values())
        if left < -1e-9 or (not rest and abs(left) > 1e-9):
            raise UsageError(f"--share: the shares come to {1 - left:g}, not to 1.")
        shares = told | {tier: left / len(rest) for tier in rest}
        seen = GIVEN
    elif source.shares:
        shares = dict(source.shares)
    else:
        shares = dict.fromkeys(tiers, 1 / len(tiers))
        seen = "assumption: all alike" if len(tiers) > 1 else "the only tier"
    hits = source.hit_rate if asked.hit_rate is None else asked.hit_rate
    who = GIVEN if asked.hit_rate is not None else source.words if source.shares else _NONE
    inputs = [Input("hit rate", f"{hits:.4g}", who)]
    inputs += [Input(f"{tier}: share", f"{shares[tier]:.4g}", seen) for tier in tiers]
    return _Mix(shares, hits), inputs


def _factor(source: Source, mix: _Mix, tier: str) -> float:
    """Requests of a tier for each one that its design day has."""
    missed = (1 - mix.hit_rate) / (1 - source.hit_rate)
    return mix.shares[tier] / source.shares.get(tier, 1.0) * missed


def strong_share(path: Path) -> float:
    """The share of strong calls that `hansom router calibrate --out` kept."""
    try:
        found = float(json.loads(text_file.read(path))["strong_share"])
    except (ValueError, KeyError, TypeError) as error:
        raise HansomError(
            f"{path} is no file of `hansom router calibrate --out`: {missing(error)}."
        ) from error
    if not 0 <= found <= 1:
        raise HansomError(f"{path}: strong_share must be from 0 to 1 (got {found:g}).")
    return found


def _to_strong(shares: Mapping[str, float], strong: float) -> dict[str, float]:
    """The last tier gets `strong`, the others what is left in proportion."""
    *others, last = shares
    if not others:
        raise UsageError("A quality is a share of the last of two tiers or more: name them.")
    total = sum(shares[tier] for tier in others)
    even = {tier: shares[tier] / total if total else 1 / len(others) for tier in others}
    return {tier: even[tier] * (1 - strong) for tier in others} | {last: strong}


def _node(profile: EngineProfile, name: str | None, machines: Mapping[str, Machine]) -> NodeKind:
    if name is None:
        return NodeKind("a replica each", 1, profile.usd_per_hour)
    if name not in machines:
        raise HansomError(f"--nodes: there is no machine {name}; there are {', '.join(machines)}.")
    gpus = machines[name].gpus
    holds = (gpus.count if gpus else 0) // profile.gpus if profile.gpus else 1
    if holds < 1:
        raise HansomError(
            f"--nodes: a replica of {profile.name} needs {profile.gpus} GPUs, {name} has "
            f"{gpus.count if gpus else 0}."
        )
    return NodeKind(name, holds, float(machines[name].usd_per_hour))


def _what_if(
    text: str,
    base: Scenario,
    mix: _Mix,
    asked: PlanCapacityOptions,
    source: Source,
    machines: Mapping[str, Machine],
) -> Scenario:
    kind, _, value = text.partition("=")
    if kind == "quantization":
        return _quantized(value, base, asked, machines)
    if kind == "hit-rate":
        other = replace(mix, hit_rate=ratio("--what-if hit-rate", value, below=1))
        return _mixed(f"hit rate {value}", base, other, source)
    if kind == "quality":
        strong = (
            strong_share(Path(value)) if Path(value).is_file()
            else ratio("--what-if quality", value)
        )  # fmt: skip
        other = replace(mix, shares=_to_strong(mix.shares, strong))
        return _mixed(f"{strong:.4g} to {base.tiers[-1].name}", base, other, source)
    if kind == "model":
        return _second(value, base, mix, asked, source)
    raise UsageError(f"--what-if is quantization=, quality=, hit-rate= or model= (got {text}).")


def _mixed(change: str, base: Scenario, mix: _Mix, source: Source) -> Scenario:
    return Scenario(
        change,
        tuple(replace(one, factor=_factor(source, mix, one.name)) for one in base.tiers),
    )


def _quantized(
    value: str, base: Scenario, asked: PlanCapacityOptions, machines: Mapping[str, Machine]
) -> Scenario:
    tier, colon, name = value.rpartition(":")
    known = [one.name for one in base.tiers]
    if colon and tier not in known:
        raise HansomError(f"--what-if: there is no tier {tier}; there are {', '.join(known)}.")
    profile = pick(asked.profile_file, name)
    tiers = []
    for one in base.tiers:
        if not colon or one.name == tier:
            kind = one.node.name if one.node.name in machines else None
            one = replace(one, profile=profile, node=_node(profile, kind, machines))
        tiers.append(one)
    return Scenario(f"{tier or 'all'} on {name}", tuple(tiers))


def _second(
    value: str, base: Scenario, mix: _Mix, asked: PlanCapacityOptions, source: Source
) -> Scenario:
    parts = value.split(":")
    if len(parts) != 3 or not parts[0]:
        raise UsageError(f"--what-if model= is NAME:PROFILE:SHARE (got {value}).")
    name, profile, share = (
        parts[0],
        pick(asked.profile_file, parts[1]),
        ratio("--what-if", parts[2]),
    )
    left = replace(mix, shares={tier: old * (1 - share) for tier, old in mix.shares.items()})
    like = max(base.tiers, key=lambda one: mix.shares[one.name])
    added = replace(
        like, name=name, profile=profile, node=_node(profile, None, {}), have=None,
        factor=share / mix.shares[like.name] * like.factor,
    )  # fmt: skip
    rest = _mixed("", base, left, source)
    return Scenario(f"{share:.4g} to {name} on {profile.name}", (*rest.tiers, added))


def _tier_inputs(
    spec: TierSpec, slo: Slo, source: Source, number: int, specs: tuple[TierSpec, ...]
) -> list[Input]:
    """A day's shape, once for each, and the profile's limits."""
    shape, found = spec.design.shape, []
    if all(spec.design is not other.design for other in specs[:number]):
        whose = "" if source.whole else f"{spec.name}: "
        found = [
            Input(f"{whose}requests of the design day", f"{shape.requests:,}", source.words),
            Input(f"{whose}input tokens, mean", f"{shape.input_tokens:,.5g}", source.words),
            Input(f"{whose}output tokens, mean", f"{shape.output_tokens:,.5g}", source.words),
            Input(f"{whose}requests/s of the highest hour",
                  f"{shape.peak_hour_requests_per_s:,.4g}", source.words),
            Input(f"{whose}highest minute by that hour's mean",
                  f"{shape.peak_to_mean:.3g}", source.words),
        ]  # fmt: skip
    most = limits(spec.profile, slo, shape.input_tokens, shape.output_tokens)
    rate = f"{most.requests_per_s:.4g}, by the {most.binding}"
    found.append(Input(f"{spec.name}: profile", spec.profile.name, spec.profile.source))
    found.append(
        Input(
            f"{spec.name}: steady requests/s of a replica",
            rate,
            "autoscale.capacity.replica_capacity",
        )
    )
    return found


def _node_input(spec: TierSpec, machines: Mapping[str, Machine]) -> Input:
    node = spec.node
    told = f"{node.name}, {node.replicas} of it on one, {node.usd_per_hour:g} USD/h"
    machine = machines.get(node.name)
    return Input(f"{spec.name}: node", told, machine.source if machine else _OWN_NODE)


def _assumed_inputs(
    asked: PlanCapacityOptions, slo: Slo, assumed: Assumed, first: Design
) -> list[Input]:
    growth, who = first.inputs.growth_per_month, "history"
    if asked.growth_percent is not None:
        who = f"assumption, {GIVEN}"
    elif any(note.startswith("no trend") for note in first.notes):
        who = "assumption: none, as the history is too short"
    alone = f" + {slo.ttft_factor:g} x alone" if slo.ttft_factor else ""
    allowed = f"TTFT {slo.ttft_s:g} s{alone}, TPOT {1000 * slo.tpot_s:g} ms"
    return [
        Input("growth a month", f"{growth:+.1%}", who),
        *(
            Input(f"launch {one.name}", f"x{one.factor:g} from {moment(one.at_s)}",
                  f"assumption, {GIVEN}")
            for one in assumed.launches
        ),
        Input("SLO", f"{allowed}, {asked.slo_share:.4g} of a day's requests", GIVEN),
        Input("headroom", f"{asked.headroom_percent:g} %",
              GIVEN if asked.headroom_percent else "assumption: none; the upper band has it"),
        Input("nodes that may be gone", f"{asked.failures}", f"{GIVEN}, or 1"),
    ]  # fmt: skip
