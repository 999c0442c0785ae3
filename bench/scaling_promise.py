"""Does scaling keep its target where it was not tuned? Twelve traces, each at four scales.

    python -m bench.scaling_promise [--half design|held|all] [--scales 1,2,4,8] [--keep FILE]

Each trace is replayed with the shipped settings, with the fixed fleet that the peak needs, and with
Ray's damped policy at targets of `LADDER`. The table has Ray's GPU-hours *at equal attainment*:
of the two targets on either side of our share of calls within the SLO, with a line between them.
So Ray's policy is tuned for each row, and ours has one setting for all.

The settings were designed on the half `design`; `held` was measured when they were done. All
replays are of one profile, A100-8B. `--keep` keeps the rows of Ray's policy and of the fixed fleet
in a file for the next run, as they depend on the trace and on the engine's model alone.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from autoscale.calibrate.profiles import pick
from autoscale.policy.profile import Slo
from autoscale.replay.replay import Setup
from autoscale.replay.trace import Trace, from_rate, read
from bench.scaling import DAY_S, PROFILES, TRACES, measure

PROFILE = "A100-8B"
LADDER = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
"""Targets of Ray's damped policy, requests for each replica."""
OURS = "ours"
HOURS = (8, 20)
"""Of each day that a trace has, so that one run takes minutes."""
WEEK_SHARE = 0.05
"""Share of the requests of Azure's week that a scale of 1 keeps."""
LONG_CLIENT, LONG_SCALE = 41, 8.0
"""The client whose answers have 4,900 tokens on the mean, and how often it is laid over itself."""
THIN = "servegen_mlarge_d0-2_thin60"
CLIENTS = "servegen_mlarge_d0-2_clientsubset"
_Make = Callable[[Path, float, int], Trace]


@dataclass(frozen=True, slots=True)
class PromiseCase:
    """A trace by its scale and seed, its half, and what a request of it may wait."""

    half: str
    make: _Make
    slo: Slo = field(default_factory=Slo)


def _hours(trace: Trace, day: int) -> Trace:
    first, last = (day * DAY_S + 3600.0 * hour for hour in HOURS)
    return trace.window(first, last)


def _of(file: str, day: int | None = None) -> _Make:
    def make(folder: Path, scale: float, seed: int) -> Trace:
        trace = read(folder / f"{file}.parquet")
        if day is not None:
            trace = _hours(trace, day)
        return trace.scaled(scale, seed)

    return make


def _of_week(day: int) -> _Make:
    """Azure's week of 2024 with the lengths of 2023; its first day is a Sunday."""

    def make(folder: Path, scale: float, seed: int) -> Trace:
        table = pq.read_table(folder / "azure2024_conv_week_rate.parquet")
        at_s = table.column("t_seconds").to_numpy() - day * DAY_S
        per_s = table.column("rpm_mid").to_numpy() / 60 * WEEK_SHARE * scale
        lengths = read(folder / "azure2023_conv.parquet")
        return _hours(from_rate("week", at_s, per_s, DAY_S, lengths, seed), 0)

    return make


def _of_long(day: int) -> _Make:
    """One day of the one client with long answers."""

    def make(folder: Path, scale: float, seed: int) -> Trace:
        table = pq.read_table(folder / f"{THIN}.parquet")
        rows = np.flatnonzero(table.column("client").to_numpy() == LONG_CLIENT)
        columns = ("t_seconds", "input_tokens", "output_tokens")
        at_s, inputs, outputs = (table.column(name).to_numpy()[rows] for name in columns)
        trace = Trace("long answers", at_s, inputs.astype(np.int64), outputs.astype(np.int64))
        return _hours(trace, day).scaled(LONG_SCALE * scale, seed)

    return make


CASES = {
    "azure2023_conv": PromiseCase("design", _of("azure2023_conv")),
    "azure week, Tuesday": PromiseCase("design", _of_week(2)),
    "thin60, day 2": PromiseCase("design", _of(THIN, 1)),
    "clients, day 1": PromiseCase("design", _of(CLIENTS, 0)),
    "clients, day 3": PromiseCase("design", _of(CLIENTS, 2)),
    "long answers, day 1": PromiseCase("design", _of_long(0)),
    "mooncake_conversation": PromiseCase(
        "held", _of("mooncake_conversation"), Slo(ttft_factor=2.0)
    ),
    "azure week, Saturday": PromiseCase("held", _of_week(6)),
    "thin60, day 1": PromiseCase("held", _of(THIN, 0)),
    "thin60, day 3": PromiseCase("held", _of(THIN, 2)),
    "clients, day 2": PromiseCase("held", _of(CLIENTS, 1)),
    "long answers, day 2": PromiseCase("held", _of_long(1)),
}


@dataclass(frozen=True, slots=True)
class PromisePoint:
    """The share of calls within the SLO, and the GPU-hours that it took."""

    share: float
    gpu_hours: float


@dataclass(frozen=True, slots=True)
class PromiseRow:
    """One trace at one scale."""

    name: str
    scale: float
    ours: PromisePoint
    fixed: PromisePoint
    ray: tuple[PromisePoint, ...]

    @property
    def ray_hours(self) -> float:
        """Ray's GPU-hours at our attainment."""
        return at_equal_share(self.ours.share, self.ray)


def at_equal_share(share: float, points: Sequence[PromisePoint]) -> float:
    """Least GPU-hours at which `points` (one or more) keep `share`, on lines between neighbours.

    For a `share` that no point reaches, returns the hours of the point with the highest one, which
    are too few.
    """
    front = sorted(points, key=lambda one: (one.gpu_hours, -one.share))
    best: list[PromisePoint] = []
    for one in front:
        if not best or one.share > best[-1].share:
            best.append(one)
    for before, after in zip([None, *best], best, strict=False):
        if after.share >= share:
            if before is None:
                return after.gpu_hours
            part = (share - before.share) / (after.share - before.share)
            return before.gpu_hours + part * (after.gpu_hours - before.gpu_hours)
    return best[-1].gpu_hours


def around(
    share: float, ladder: Sequence[float], ask: Callable[[float], PromisePoint]
) -> tuple[PromisePoint, ...]:
    """Points of the two targets next to `share`, and of those asked on the way to them.

    The ladder ascends, and a higher target is taken to keep less.
    """
    found: dict[int, PromisePoint] = {}
    low, high = -1, len(ladder)
    while high - low > 1:
        middle = (low + high) // 2
        found[middle] = ask(ladder[middle])
        low, high = (middle, high) if found[middle].share >= share else (low, middle)
    return tuple(found.values())


class KeptShare:
    """Rows of an earlier run, by what they depend on; without a file nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._found: dict[str, Any] = {}
        if path is not None and path.exists():
            self._found = json.loads(path.read_text())

    def get(self, key: str, make: Callable[[], PromisePoint]) -> PromisePoint:
        """The point of `key`, made if it is not there."""
        if key not in self._found:
            made = make()
            self._found[key] = (made.share, made.gpu_hours)
            if self._path is not None:
                self._path.write_text(json.dumps(self._found, indent=0))
        return PromisePoint(*self._found[key])


def rows(args: argparse.Namespace) -> Iterator[PromiseRow]:
    """Each trace at each scale, as it is done."""
    kept, profile = KeptShare(args.keep), pick(PROFILES, PROFILE)
    for name, case in CASES.items():
        if args.half not in (case.half, "all") or args.only not in name:
            continue
        setup = Setup(profile, case.slo, seed=args.seed)
        for scale in args.scales:
            trace = case.make(args.traces, scale, args.seed)

            def point(policy: str, trace: Trace = trace, setup: Setup = setup) -> PromisePoint:
                told = measure(trace, policy, setup)
                return PromisePoint(told["slo_attainment"], told["gpu_hours"])

            def once(policy: str, key: str = f"{name} x{scale:g} {args.seed}") -> PromisePoint:
                return kept.get(f"{key} {policy}", lambda: point(policy))

            ours = point(args.ours)
            ray = around(ours.share, args.ladder, lambda one: once(f"ray-damped:{one:g}"))
            yield PromiseRow(name, scale, ours, once("fixed"), ray)


def line(row: PromiseRow) -> str:
    """One row of the table."""
    ratio = row.ours.gpu_hours / row.ray_hours
    return (
        f"| {row.name} ×{row.scale:g} | {row.ours.share:.2%} | {row.ours.gpu_hours:,.1f} "
        f"| {row.ray_hours:,.1f} | {ratio:.2f} | {row.fixed.share:.2%} | "
        f"{row.fixed.gpu_hours:,.1f} |"
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the table as it is made, then its means."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--half", choices=("design", "held", "all"), default="all")
    parser.add_argument("--only", default="", help="traces whose name has this")
    parser.add_argument("--scales", type=_numbers, default=(1.0, 2.0, 4.0, 8.0))
    parser.add_argument("--ladder", type=_numbers, default=LADDER)
    parser.add_argument("--ours", default=OURS, help="the policy that is compared")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--traces", type=Path, default=TRACES)
    parser.add_argument("--keep", type=Path, default=None)
    args = parser.parse_args(arguments)
    print("| trace | within | GPU-h | Ray damped, GPU-h | ours by Ray | fixed within | GPU-h |")
    print("|---|---|---|---|---|---|---|")
    found = []
    for row in rows(args):
        found.append(row)
        print(line(row), flush=True)
    share = float(np.mean([row.ours.share for row in found]))
    ratio = float(np.mean([row.ours.gpu_hours / row.ray_hours for row in found]))
    worst = min(row.ours.share for row in found)
    print(f"\nmean {share:.2%}, worst {worst:.2%}, {ratio:.2f} of Ray's hours")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


if __name__ == "__main__":
    main()
