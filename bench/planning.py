"""The capacity planner against what came: bands, next days, and peers on the same question.

    python -m bench.planning [--part bands,days,peers] [--sr-sim COMMAND] [--aiconfigurator COMMAND]

Traces are those of a folder that is not in this repository; see docs/autoscaling.md. The peers are
programs of environments of their own: `pip install --pre vllm-sr-sim`, `aiconfigurator==0.12.0`.
Every answer is judged by our own replay, which favours ours: it was sized there.
"""

import argparse
import json
import re
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from autoscale.calibrate.profiles import pick
from autoscale.capacity.design import design
from autoscale.capacity.season import History, forecast
from autoscale.capacity.season_fit import Assumed
from autoscale.capacity.sizing import ReplicaNeeds, curve, smallest
from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.replay import Setup
from autoscale.replay.trace import Trace, read
from bench.scaling import PROFILES, TRACES

DAY_S = 86_400.0
CDF_POINTS = 50
SEEDS = (0, 1)
OTHER_SEEDS = (2, 3, 4)
"""Seeds that no fleet was sized with."""


def histories(folder: Path) -> dict[str, History]:
    """Real load by hours: requests of a week, tokens of ten days."""
    week = pq.read_table(folder / "azure2024_conv_week_rate.parquet")
    minutes = np.arange(0, week.column("t_seconds")[-1].as_py(), 60.0)
    per_minute = np.interp(
        minutes, week.column("t_seconds").to_numpy(), week.column("rpm_mid").to_numpy()
    )
    found = {"azure2024_conv requests": History(0.0, 60.0, per_minute)}
    rates = pq.read_table(folder / "servegen_rate_10min.parquet")
    models = np.array(rates.column("model").to_pylist())
    for model in dict.fromkeys(models.tolist()):
        for name in ("req_per_s", "in_tok_per_s", "out_tok_per_s"):
            values = rates.column(name).to_numpy()[models == model].astype(np.float64)
            found[f"servegen {model} {name}"] = History(0.0, 600.0, values * 600)
    return found


def known_law(seed: int, days: int) -> History:
    """Smooth load of a law: day and week season, and noise of 10 % that lasts for hours."""
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    noise = np.zeros(len(hours))
    for n in range(1, len(hours)):
        noise[n] = 0.7 * noise[n - 1] + rng.normal(0, 0.1 * np.sqrt(1 - 0.7**2))
    weekend = np.where((hours // 24 + 3) % 7 >= 5, 0.7, 1.0)
    values = 1000 * (1 + 0.5 * np.sin(2 * np.pi * hours / 24)) * weekend * np.exp(noise)
    return History(0.0, 3600.0, values)


def covered(history: History, first_day: int, coverage: float) -> tuple[float, float, int]:
    """(share of hours in their band, of peaks, forecasts) of the next day, every 6 hours."""
    seen = history.hours()
    hours, peaks = [], []
    for origin in range(24 * first_day, len(seen) - 23, 6):
        told = forecast(History(history.start_s, 3600.0, seen[:origin]), 1, coverage=coverage)
        came = seen[origin : origin + 24]
        hours.extend(((came >= told.hours.lower) & (came <= told.hours.upper)).tolist())
        peaks.append(bool(told.peaks.lower[0] <= came.max() <= told.peaks.upper[0]))
    return float(np.mean(hours)), float(np.mean(peaks)), len(peaks)


def bands(folder: Path) -> None:
    """Coverage of the next day's bands on real load, and on load of a known law."""
    print(
        "| load | days | forecasts | hours in 80 % | in 90 % | peaks in 90 % |\n"
        "|---|---|---|---|---|---|"
    )
    for name, history in histories(folder).items():
        days = len(history.hours()) / 24
        _row(name, days, [covered(history, 4, level) for level in (0.8, 0.9)])
    for days in (21, 42, 84):
        both = []
        for level in (0.8, 0.9):
            runs = [covered(known_law(seed, days + 2), days, level) for seed in range(100)]
            both.append((
                float(np.mean([run[0] for run in runs])),
                float(np.mean([run[1] for run in runs])),
                sum(run[2] for run in runs),
            ))  # fmt: skip
        _row(f"known law, {days} days of history", days, both)


def _row(name: str, days: float, both: list[tuple[float, float, int]]) -> None:
    (low, _, count), (high, peak, _) = both
    print(f"| {name} | {days:.1f} | {count} | {low:.1%} | {high:.1%} | {peak:.1%} |", flush=True)


def days(folder: Path) -> None:
    """A day's fleet under other seeds, and the fleet that was planned before the day came."""
    print(
        "| trace | requests | N | seconds | other seeds keep | N - 1 keeps |\n"
        "|---|---|---|---|---|---|"
    )
    for trace, slo in day_traces(folder):
        setup = Setup(pick(PROFILES, "A100-8B"), slo)
        began_s = time.perf_counter()
        sized = smallest(trace, setup)
        took_s = time.perf_counter() - began_s
        other = ReplicaNeeds(trace, setup, OTHER_SEEDS)
        fewer = other.kept(sized.replicas - 1) if sized.replicas > 1 else float("nan")
        print(
            f"| {trace.name} | {len(trace):,} | {sized.replicas} | {took_s:.1f} | "
            f"{other.kept(sized.replicas):.2%} | {fewer:.2%} |",
            flush=True,
        )
    print("\n| trace | planned from | lower-expected-upper | the day needed |\n|---|---|---|---|")
    for file, scale in (("thin60", 4.0), ("clientsubset", 2.0)):
        trace = read(folder / f"servegen_mlarge_d0-2_{file}.parquet")
        ahead(trace.scaled(scale, 0), pick(PROFILES, "A100-8B"))


def ahead(trace: Trace, profile: EngineProfile) -> None:
    """The third day, planned from the first two."""
    seen, came = trace.window(0, 2 * DAY_S), trace.window(2 * DAY_S, 3 * DAY_S)
    setup = Setup(profile, Slo())
    made = design(seen, profile, setup.slo, 2 * DAY_S, 1, Assumed(), 0.9)
    loads = [float(one[0]) for one in (made.peaks.lower, made.peaks.middle, made.peaks.upper)]
    found, _ = curve(made.day, setup, loads)
    needed = smallest(came, setup).replicas
    told = "-".join(str(found.at(load)) for load in loads)
    print(f"| {trace.name} | two days | {told} | {needed} |", flush=True)


def day_traces(folder: Path) -> list[tuple[Trace, Slo]]:
    """An hour of chat, long prompts, and a day each of smooth and bursty clients."""
    thin = read(folder / "servegen_mlarge_d0-2_thin60.parquet").window(0, DAY_S)
    clients = read(folder / "servegen_mlarge_d0-2_clientsubset.parquet").window(0, DAY_S)
    return [
        (read(folder / "azure2023_conv.parquet").scaled(12, 0), Slo()),
        (read(folder / "mooncake_conversation.parquet").scaled(2, 0), Slo(ttft_factor=2.0)),
        (thin.scaled(0.25, 0), Slo()),
        (thin.scaled(4, 0), Slo()),
        (clients.scaled(4, 0), Slo()),
    ]


def peers(folder: Path, sr_sim: str | None, aiconfigurator: str | None) -> None:
    """Our fleet and the peers', for one trace on A100s, replayed."""
    trace = read(folder / "azure2023_conv.parquet").scaled(12, 0)
    setup = Setup(pick(PROFILES, "A100-8B"), Slo())
    fast = replace(setup, profile=faster(setup.profile))
    rate = len(trace) / trace.span_s
    minutes = np.bincount((trace.at_s // 60).astype(int)) / 60
    answers = {
        "hansom plan capacity": smallest(trace, setup).replicas,
        "hansom plan capacity, faster replicas": smallest(trace, fast).replicas,
    }
    for name, per_s in (("mean rate", rate), ("highest minute", float(minutes.max()))):
        if sr_sim:
            answers[f"vllm-sr-sim, {name}"] = ask_sr_sim(sr_sim, trace, per_s)
        if aiconfigurator:
            answers[f"AIConfigurator, {name}"] = ask_aiconfigurator(aiconfigurator, trace, per_s)
    judges = [ReplicaNeeds(trace, one, (*SEEDS, *OTHER_SEEDS)) for one in (setup, fast)]
    print("| planner | A100s | within the SLO, replayed | on faster replicas |\n|---|---|---|---|")
    for name, replicas in answers.items():
        kept = " | ".join(f"{one.kept(replicas):.1%}" for one in judges)
        print(f"| {name} | {replicas} | {kept} |", flush=True)


def faster(profile: EngineProfile) -> EngineProfile:
    """Every part of a step in two thirds of the time, and chunks of 2,048 tokens, as vLLM's own."""
    return profile.model_copy(
        update={
            "base_s": profile.base_s * 2 / 3,
            "per_sequence_s": profile.per_sequence_s * 2 / 3,
            "per_kv_token_s": profile.per_kv_token_s * 2 / 3,
            "prefill_tokens_per_s": profile.prefill_tokens_per_s * 3 / 2,
            "chunk_tokens": 2048,
        }
    )


def ask_sr_sim(command: str, trace: Trace, per_s: float) -> int:
    """GPUs of the cheapest fleet whose P99 TTFT is 2 s, verified by its own simulation."""
    total = np.sort(trace.input_tokens + trace.output_tokens)
    shares = np.linspace(1 / CDF_POINTS, 1, CDF_POINTS)
    tokens = np.quantile(total, shares, method="higher")
    cdf = {int(value): float(share) for value, share in zip(tokens, shares, strict=True)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cdf.json"
        file.write_text(json.dumps(list(cdf.items())))
        said = _run(
            command, "optimize", "--cdf", str(file), "--lam", f"{per_s:.3f}", "--slo", "2000",
            "--b-short", "4096", "--verify-top", "3",
        )  # fmt: skip
    return _number(r"Best \(simulated\):.*total=(\d+)", said)


def ask_aiconfigurator(command: str, trace: Trace, per_s: float) -> int:
    """GPUs of its first aggregated configuration for Llama-3.1-8B in BF16."""
    said = _run(
        command, "cli", "recommend", "--model-path", "meta-llama/Meta-Llama-3.1-8B", "--system",
        "a100_sxm", "--backend", "vllm", "--isl", f"{trace.input_tokens.mean():.0f}", "--osl",
        f"{trace.output_tokens.mean():.0f}", "--ttft", "2000", "--tpot", "100",
        "--target-request-rate", f"{per_s:.3f}",
    )  # fmt: skip
    return _number(r"agg Top Configurations[\s\S]*?\|\s+1\s+\|(?:[^|]*\|){7}\s+(\d+) \(", said)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout + done.stderr


def _number(pattern: str, said: str) -> int:
    found = re.search(pattern, said)
    if found is None:
        raise SystemExit(f"no answer in:\n{said[-2000:]}")
    return int(found[1])


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", default="bands,days,peers")
    parser.add_argument("--sr-sim", default=None)
    parser.add_argument("--aiconfigurator", default=None)
    parser.add_argument("--traces", type=Path, default=TRACES)
    args = parser.parse_args(arguments)
    parts = {
        "bands": lambda: bands(args.traces),
        "days": lambda: days(args.traces),
        "peers": lambda: peers(args.traces, args.sr_sim, args.aiconfigurator),
    }
    for name in args.part.split(","):
        parts[name]()
        print()


if __name__ == "__main__":
    main()
