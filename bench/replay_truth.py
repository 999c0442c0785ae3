"""Is a replay true? A running engine under a trace of arrivals, and the replay of the same.

    python -m bench.replay_truth --url http://127.0.0.1:8000 --tier small --profile FILE:NAME

The profile is what `hansom plan calibrate` wrote for that tier. Two loads: arrivals at random at
`--rate` a second, and all at once. What was sent (times, and tokens as the engine counted them) is
replayed on one replica; TTFT and throughput of both stand side by side, with their ratio.

Promises: nothing is fitted to what is compared. Not covered: several replicas, prefix caches.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from autoscale.calibrate.measure import MeasuredAnswer, Where, drive
from autoscale.calibrate.profiles import pick
from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.policies import PolicyChoice, run
from autoscale.replay.replay import Setup
from autoscale.replay.trace import Trace

FIGURES = ("ttft_s_p50", "ttft_s_p95", "output_tokens_per_s")
STEADY = 1.15
PROMPT_TOKENS = (40, 700)
OUTPUT_TOKENS = (16, 96)


@dataclass(frozen=True, slots=True)
class TruthFigures:
    """One run: TTFT in seconds, and output tokens a second from the first arrival to the end."""

    ttft_s_p50: float
    ttft_s_p95: float
    output_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class TruthPair:
    """The same arrivals, served and replayed."""

    load: str
    measured: TruthFigures
    replayed: TruthFigures

    def ratios(self) -> dict[str, float]:
        """Replayed by measured, of each figure."""
        return {
            name: getattr(self.replayed, name) / getattr(self.measured, name) for name in FIGURES
        }


def steady(before: EngineProfile, after: EngineProfile) -> bool:
    """Whether the engine is as fast as it was; if not, a comparison in between says nothing."""
    steps = ((1, 300, 0), (8, 2400, 0), (1, 300, 300))  # sequences, KV tokens, prompt tokens
    changes = [after.step_s(*step) / before.step_s(*step) for step in steps]
    return all(1 / STEADY <= change <= STEADY for change in changes)


def arrivals(requests: int, rate: float, seed: int) -> Trace:
    """Poisson at `rate` a second (all at once: infinite), lengths lognormal within bounds."""
    rng = np.random.default_rng(seed)
    gaps_s = rng.exponential(1, requests) / rate
    return Trace(
        "all at once" if np.isinf(rate) else f"{rate:g}/s",
        np.cumsum(gaps_s) - gaps_s[0],
        _lengths(rng, requests, PROMPT_TOKENS),
        _lengths(rng, requests, OUTPUT_TOKENS),
    )


def _lengths(rng: np.random.Generator, requests: int, bounds: tuple[int, int]) -> np.ndarray:
    middle = np.sqrt(bounds[0] * bounds[1])
    return np.clip(rng.lognormal(np.log(middle), 0.7, requests), *bounds).astype(np.int64)


def serve(where: Where, trace: Trace) -> tuple[Trace, TruthFigures]:
    """Send the trace to the running tier; what was sent, and what came of it."""
    sent, answers = asyncio.run(drive(where, trace))
    return sent, _figures(sent, [one.ttft_s for one in answers], _ends(answers))


def replayed(sent: Trace, profile: EngineProfile, slo: Slo) -> TruthFigures:
    """What the replay says of the same arrivals on one replica that is there from the start.

    `slo` is the tier's own: who is late by it goes last in the engine's queue.
    """
    setup = Setup(profile, slo, warmup_s=0.0, max_replicas=1)
    found = run(sent, PolicyChoice("fixed", replicas=1), setup)
    later = np.nan_to_num(found.tpot_s) * (sent.output_tokens - 1)
    return _figures(sent, found.ttft_s, sent.at_s + found.ttft_s + later)


def _ends(answers: Sequence[MeasuredAnswer]) -> np.ndarray:
    return np.array([one.came_s[-1] for one in answers]) - answers[0].sent_s


def _figures(sent: Trace, ttft_s: Sequence[float] | np.ndarray, ends_s: np.ndarray) -> TruthFigures:
    p50, p95 = np.percentile(ttft_s, (50, 95))
    return TruthFigures(float(p50), float(p95), float(sent.output_tokens.sum() / ends_s.max()))


def main() -> None:
    """Run both loads and print them."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--url", default="http://127.0.0.1:8000")
    options.add_argument("--tier", default="small")
    options.add_argument("--profile", default="config/profiles.yaml:laptop", help="FILE:NAME")
    options.add_argument("--rate", type=float, default=1.5, help="requests a second")
    options.add_argument("--requests", type=int, default=120)
    options.add_argument("--at-once", type=int, default=40, help="requests of the second load")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--slo-ttft", type=float, default=2.0, help="the tier's own, seconds")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    path, _, name = asked.profile.rpartition(":")
    profile, where = pick(Path(path), name), Where(asked.url, asked.tier, connections=512)
    slo = Slo(ttft_s=asked.slo_ttft)
    pairs = []
    for trace in (
        arrivals(asked.requests, asked.rate, asked.seed),
        arrivals(asked.at_once, float("inf"), asked.seed),
    ):
        sent, measured = serve(where, trace)
        pairs.append(TruthPair(trace.name, measured, replayed(sent, profile, slo)))
    if asked.json:
        print(json.dumps([{"load": one.load} | one.ratios() for one in pairs]))
        return
    table = Table("load", "figure", "measured", "replayed", "ratio", title="Is the replay true?")
    for one in pairs:
        for figure, ratio in one.ratios().items():
            told = (getattr(one.measured, figure), getattr(one.replayed, figure))
            table.add_row(one.load, figure, *(f"{value:.3g}" for value in told), f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
