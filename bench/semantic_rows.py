"""What caches serve and how wrong it is, in rows: the pure part of `bench.semantic_peers`.

Promises: a set counts like any other in a share over several; a threshold chosen in hindsight is
the best for the rows at hand. Not covered: running anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from bench.semantic import Pool
from cache.tuning.dataset import OUT_OF_SCOPE, Pair, Request
from cache.tuning.evaluation import DEFAULT_LEVEL

# A peer's threshold at a cosine, and the cosine at its closeness (`bench.semantic_peer_side`).
THRESHOLD: Mapping[str, Callable[[Any], Any]] = {
    "gptcache": lambda cosine: (1 + cosine) / 2,
    "redisvl": lambda cosine: 1 - cosine,
}
COSINE: Mapping[str, Callable[[Any], Any]] = {
    "gptcache": lambda closeness: 2 * closeness - 1,
    "redisvl": lambda closeness: 1 + closeness,
}
# The cosine at a peer's own default threshold.
DEFAULT_COSINE: Mapping[str, float] = {"gptcache": 0.6, "redisvl": 0.9}
TAUGHT = ("redis_nearmiss", "probes")  # sets that ours learned from
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SemanticRow:
    """What a cache at one setting serves of all, and how much of that is wrong; shares."""

    cache: str
    setting: str
    served: float
    wrong: float
    recall: float | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer did. Of a stream: threshold, or None for its default, and each request's find.

    `served` was decided by the peer at its default threshold; -1 in a stream is a miss.
    """

    served: dict[str, Bools]
    closeness: dict[str, Floats]
    context: list[bool]
    streams: dict[str, list[tuple[float | None, list[int]]]]

    @classmethod
    def read(cls, text: str) -> Told:
        """From the peer's JSON. Raises `KeyError` or `ValueError` for anything else."""
        raw = json.loads(text)
        pairs = raw["pairs"].items()
        return cls(
            {name: np.array(one["served"], dtype=bool) for name, one in pairs},
            {name: np.array(one["closeness"], dtype=float) for name, one in pairs},
            [bool(one) for one in raw["context"]],
            {name: [(run[0], run[1]) for run in runs] for name, runs in raw["streams"].items()},
        )


def at_share(
    pool: Pool, closeness: Mapping[str, Floats], share: float
) -> tuple[tuple[float, float, float], float]:
    """The marks and the strictest threshold that serve at least `share`, or all if none does."""
    near = sorted({float(one) for rows in closeness.values() for one in rows}, reverse=True)
    low, high = 0, len(near) - 1
    while low < high:  # a looser threshold never serves less
        middle = (low + high) // 2
        enough = pool.marks(_passing(closeness, near[middle]))[0] >= share
        low, high = (low, middle) if enough else (middle + 1, high)
    return pool.marks(_passing(closeness, near[low])), near[low]


def _passing(closeness: Mapping[str, Floats], threshold: float) -> dict[str, Bools]:
    return {name: rows >= threshold for name, rows in closeness.items()}


def pair_rows(
    peer: str, sets: Mapping[str, Sequence[Pair]], told: Told, share: float, most_wrong: float
) -> list[SemanticRow]:
    """Make the rows of these sets: a peer's default, its best within `most_wrong`, at `share`."""
    pool = Pool(sets)
    closeness = {name: told.closeness[name] for name in sets}
    *best, threshold = pool.best_fixed(closeness, most_wrong)
    alike, loose = at_share(pool, closeness, share)
    within = f"best with at most {most_wrong:.1%} wrong"
    within += f", cosine {COSINE[peer](threshold):.3f}" if best[0] else ": none"
    return [
        SemanticRow(peer, "default", *pool.marks({name: told.served[name] for name in sets})),
        SemanticRow(peer, within, *best),
        SemanticRow(peer, f"serving as much as ours, cosine {COSINE[peer](loose):.3f}", *alike),
    ]


def stream_share(requests: Sequence[Request], found: Sequence[int]) -> tuple[float, float]:
    """(share served, wrong of those) by the place of the request whose answer was served."""
    served = wrong = 0
    for one, place in zip(requests, found, strict=True):
        if place >= 0:
            served += 1
            wrong += not one.answer == requests[place].answer != OUT_OF_SCOPE
    return served / len(requests), wrong / max(served, 1)


def stream_rows(
    peer: str, requests: Sequence[Request], runs: Sequence[tuple[float | None, list[int]]]
) -> list[SemanticRow]:
    """Each threshold that was run, the default first."""
    return [
        SemanticRow(
            peer,
            "default" if threshold is None else f"threshold {threshold:g}",
            *stream_share(requests, found),
        )
        for threshold, found in runs
    ]


def hindsight(rows: Sequence[SemanticRow], most_wrong: float) -> SemanticRow | None:
    """The row that serves most with at most `most_wrong` wrong; None if none serves so."""
    kept = [row for row in rows if row.served and row.wrong <= most_wrong]
    return max(kept, key=lambda row: row.served, default=None)


def ratio(row: SemanticRow, ours: SemanticRow) -> float | None:
    """How many times as wrong as ours what it serves is; None beside none."""
    return row.wrong / ours.wrong if ours.wrong and row.served else None


def unlike(peer: str, told: Told) -> int:
    """Rows on which a peer's default decides otherwise than its own score says.

    Scores within a thousandth of the threshold are left out.
    """
    count, default = 0, DEFAULT_COSINE[peer]
    for name, served in told.served.items():
        cosines = COSINE[peer](told.closeness[name])
        count += int(((cosines >= default) != served)[np.abs(cosines - default) > 1e-3].sum())
    return count


@dataclass(frozen=True, slots=True)
class Probed:
    """Context probes: how many were served of those that must miss, and of those that must hit."""

    cache: str
    wrong: int
    must_miss: int
    right: int
    must_hit: int

    @classmethod
    def of(cls, cache: str, told: Told | str, hits: Sequence[bool]) -> Probed:
        """A peer's; one that did not run has none of none."""
        if isinstance(told, str):
            return cls(cache, 0, 0, 0, 0)
        right = sum(got and hit for got, hit in zip(told.context, hits, strict=True))
        return cls(cache, sum(told.context) - right, hits.count(False), right, hits.count(True))


def pair_tables(
    sets: Mapping[str, Sequence[Pair]],
    ours: Mapping[tuple[str, str], Mapping[str, Bools]],
    told: Mapping[str, Told | str],
    most_wrong: float = float(DEFAULT_LEVEL),
) -> dict[str, list[SemanticRow]]:
    """All sets counting alike, and those that ours did not learn from.

    `ours` is what is served by (setting, level), the setting that is compared first.
    """
    tables = {}
    untaught = {name: rows for name, rows in sets.items() if name not in TAUGHT}
    for title, part in (("pairs, counting alike", sets), ("pairs, never trained on", untaught)):
        pool = Pool(part)
        rows = [
            SemanticRow(
                "ours", f"{setting}, level {level}", *pool.marks({one: found[one] for one in part})
            )
            for (setting, level), found in ours.items()
        ]
        for name, one in told.items():
            rows += (
                [_not_run(name, one)]
                if isinstance(one, str)
                else pair_rows(name, part, one, rows[0].served, most_wrong)
            )
        tables[title] = rows
    return tables


def stream_table(
    stream: str,
    requests: Sequence[Request],
    ours: Sequence[SemanticRow],
    told: Mapping[str, Told | str],
) -> list[SemanticRow]:
    """Ours first, each threshold of each peer, and its best that is no more wrong than ours."""
    rows = list(ours)
    for name, one in told.items():
        if isinstance(one, str):
            rows.append(_not_run(name, one))
            continue
        runs = stream_rows(name, requests, one.streams[stream])
        best = hindsight(runs, ours[0].wrong)
        within = f"best of {len(runs)} with at most {ours[0].wrong:.2%} wrong"
        told_best = (best.setting, best.served, best.wrong) if best else ("none", 0.0, 0.0)
        rows += [*runs, SemanticRow(name, f"{within}: {told_best[0]}", *told_best[1:])]
    return rows


def _not_run(cache: str, why: str) -> SemanticRow:
    return SemanticRow(cache, f"not run: {why}", 0.0, 0.0)


def context_table(rows: Sequence[Probed]) -> Table:
    """Answers to another tenant, model, system prompt and so on, and answers that were right."""
    made = Table("cache", "served of those that must miss", "of those that must hit")
    for row in rows:
        made.add_row(row.cache, f"{row.wrong} of {row.must_miss}", f"{row.right} of {row.must_hit}")
    return made


def table(title: str, rows: Sequence[SemanticRow]) -> Table:
    """Rows with their ratio to the first one's wrong share."""
    made = Table(
        "cache", "setting", "served", "wrong of served", "recall", "wrong / ours", title=title
    )
    for row in rows:
        times = ratio(row, rows[0])
        made.add_row(
            row.cache,
            row.setting,
            f"{row.served:.1%}",
            f"{row.wrong:.2%}" if row.served else "–",
            "–" if row.recall is None else f"{row.recall:.2f}",
            "–" if times is None else f"{times:.1f}",
        )
    return made
