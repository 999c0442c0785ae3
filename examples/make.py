"""Make the traces and the graded rows of this folder again: `python examples/make.py`.

Promises: the same bytes each time. No trace of real traffic and no model's answer is in them:
arrivals, token counts and grades are drawn at random, from the shapes and chances named below.
"""

import argparse
import csv
import math
from pathlib import Path

import numpy as np

from training.router.prompts import own_prompts

HERE = Path(__file__).parent
HOUR_S = 3600
# Requests a minute by hour of the day, UTC: an office product with a quiet night.
PER_MINUTE = (
    0.3, 0.2, 0.2, 0.2, 0.3, 0.6, 1.2, 2.4, 3.6, 4.4, 4.6, 4.2,
    3.4, 4.0, 4.4, 4.2, 3.6, 2.6, 1.8, 1.4, 1.2, 0.9, 0.6, 0.4,
)  # fmt: skip
WEEKEND = 0.35
"""Share of the load on the sixth and seventh day."""
BURST_AT_S, BURST_S, BURST = 14 * HOUR_S, 20 * 60, 4.0
"""Of the single day: 20 minutes with four times the requests."""
INPUT_MEDIAN, INPUT_SPREAD, INPUT_MOST = 420, 0.9, 6000
OUTPUT_MEDIAN, OUTPUT_SPREAD, OUTPUT_MOST = 140, 0.8, 1200
"""Tokens are lognormal: most are short, some are very long."""
GRADED_ROWS = 400
# USD of a call to either, as the prices of config/laptop.yaml and a typical length make it.
COST_USD = ("0.00002", "0.00015")


def rate_per_s(at_s: int, *, burst: bool) -> float:
    """Expected requests a second, by day of the week, hour, and the burst."""
    day, hour = divmod(at_s // HOUR_S, 24)
    rate = PER_MINUTE[hour] / 60 * (WEEKEND if day % 7 >= 5 else 1.0)
    return rate * (BURST if burst and BURST_AT_S <= at_s < BURST_AT_S + BURST_S else 1.0)


def trace(days: int, times: float, seed: int, *, burst: bool) -> list[tuple[str, int, int]]:
    """Rows (seconds, input tokens, output tokens) of Poisson arrivals, in order of arrival."""
    rng = np.random.default_rng(seed)
    rows = []
    for minute_s in range(0, days * 24 * HOUR_S, 60):
        count = rng.poisson(60 * times * rate_per_s(minute_s, burst=burst))
        for at_s in sorted(minute_s + rng.random(count) * 60):
            rows.append((f"{at_s:.1f}", tokens(rng, INPUT_MEDIAN, INPUT_SPREAD, INPUT_MOST),
                         tokens(rng, OUTPUT_MEDIAN, OUTPUT_SPREAD, OUTPUT_MOST)))  # fmt: skip
    return rows


def tokens(rng: np.random.Generator, median: int, spread: float, most: int) -> int:
    """One lognormal length, 1 at least."""
    return min(most, max(1, round(rng.lognormal(math.log(median), spread))))


def graded(seed: int) -> list[tuple[str, str, int, int, int, str, str]]:
    """Prompts of ours, and for three models whether the answer was right, drawn by its chance.

    The medium one's chance is half way between the others'.
    """
    rng, between = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    prompts = [*own_prompts(held_out=False), *own_prompts(held_out=True)]
    rows = []
    for place in sorted(rng.choice(len(prompts), GRADED_ROWS, replace=False)):
        own = prompts[place]
        small, large = int(rng.random() < own.p_small), int(rng.random() < own.p_large)
        medium = int(between.random() < (own.p_small + own.p_large) / 2)
        rows.append((own.text, own.label, small, medium, large, *COST_USD))
    return rows


def write(path: Path, names: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """A CSV file with a header line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def make(folder: Path) -> None:
    """All three files."""
    columns = ("t_seconds", "input_tokens", "output_tokens")
    write(folder / "day.csv", columns, [*trace(1, 2.0, 1, burst=True)])
    write(folder / "week.csv", columns, [*trace(7, 0.6, 2, burst=False)])
    scores = ("score::small", "score::medium", "score::large")
    names = ("prompt", "topic", *scores, "cost::small", "cost::large")
    write(folder / "graded.csv", names, [*graded(3)])


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(prog="python examples/make.py", description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    make(parser.parse_args().out)


if __name__ == "__main__":
    main()
