"""What routing saves, end to end, on the models that are served now.

    hansom serve &
    python -m bench.routing bigbench-1.0.0.tar.gz

Promises: every prompt is answered by both tiers through the endpoint, at temperature 0, and graded
by rule; every strategy is then replayed on these answers, with the costs that the endpoint told.
A cut-off is chosen on one half of the prompts and measured on the other, both ways round, and the
bootstrap repeats that choice. Not covered: waiting times under load, and answers longer than
`--max-tokens`.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.bigbench import Task, read
from router.adapt import Labelled, fit
from router.cascade import judge
from router.conversation import read as read_conversation
from router.embed import MiniLM
from router.evaluate import apgr, bootstrap
from router.features import of_conversation
from router.heuristic import complexity
from router.score import DEFAULT_ARTEFACT, Scorer

OUT = Path(__file__).parent / "out"
Floats = NDArray[np.float64]
_TARGETS = (0.95, 0.99)
_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tier said, what it cost in USD, and how sure it was of its tokens."""

    text: str
    cost_usd: float
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """n prompts answered by both tiers. right (n, 2) and cost_usd (n, 2): small, large."""

    tasks: tuple[Task, ...]
    right: Floats
    cost_usd: Floats
    doubt: Floats

    @property
    def gap(self) -> float:
        """What always-large gets right beyond always-small."""
        return float((self.right[:, 1] - self.right[:, 0]).mean())


async def ask(client: httpx.AsyncClient, tier: str, prompt: str, max_tokens: int) -> Answer:
    """One answer through the endpoint."""
    body = {
        "model": tier,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "logprobs": True,
    }
    got = (await client.post("/v1/chat/completions", json=body)).raise_for_status()
    choice = got.json()["choices"][0]
    tokens = (choice.get("logprobs") or {}).get("content") or []
    cost = float(got.headers["x-hansom-cost-usd"])
    return Answer(
        choice["message"]["content"] or "", cost, tuple(float(one["logprob"]) for one in tokens)
    )


async def answered(
    url: str, tasks: Sequence[Task], tiers: tuple[str, str], max_tokens: int, at_once: int
) -> Answered:
    """Every task by both tiers, `at_once` at a time; the cache is asked to stay out of it."""
    headers = {"x-hansom-cache": "off"}
    async with httpx.AsyncClient(base_url=url, timeout=600, headers=headers) as client:
        told: list[list[Answer]] = []
        for tier in tiers:
            places = asyncio.Semaphore(at_once)

            async def one(task: Task, tier: str = tier, at: asyncio.Semaphore = places) -> Answer:
                async with at:
                    return await ask(client, tier, task.prompt, max_tokens)

            told.append(await asyncio.gather(*(one(task) for task in tasks)))
    pairs = list(zip(tasks, *told, strict=True))
    return Answered(
        tuple(tasks),
        np.array([[float(task.right(one.text)) for one in both] for task, *both in pairs]),
        np.array([[one.cost_usd for one in both] for _, *both in pairs]),
        np.array(
            [judge(task.prompt, small.text, small.logprobs).value for task, small, _ in pairs]
        ),
    )


def scores(rows: Answered, scorer: Scorer) -> tuple[Floats, Floats]:
    """(n,) the learned score, and (n,) the same taught by the labels of the other half."""
    embedder, embeddings, surfaces = MiniLM.installed(), [], []
    for task in track(rows.tasks, "scoring", transient=True):
        asked = read_conversation([{"role": "user", "content": task.prompt}])
        embeddings.append(embedder.embed([asked.asked])[0])
        surfaces.append(of_conversation(asked))
    embedded, counted = np.stack(embeddings), np.stack(surfaces)
    taught = np.empty(len(rows.tasks))
    halves = np.array_split(np.random.default_rng(1).permutation(len(rows.tasks)), 2)
    for learn, test in (halves, halves[::-1]):
        labelled = Labelled(embedded[learn], counted[learn], rows.right[learn])
        taught[test] = fit(scorer, labelled).judge(embedded[test], counted[test]).rank
    return scorer.judge(embedded, counted).rank, taught


@dataclass(frozen=True, slots=True)
class Way:
    """A ranking of prompts, highest first to large; a `paid` one asks small before it knows."""

    rank: Floats
    paid: bool

    def outcome(self, rows: Answered, cut: float, picked: NDArray[np.intp]) -> tuple[float, float]:
        """(quality, USD a call) of a cut-off on the picked rows."""
        up = self.rank[picked] >= cut
        right, cost = rows.right[picked], rows.cost_usd[picked]
        spent = np.where(up, cost[:, 1] + self.paid * cost[:, 0], cost[:, 0])
        return float(np.where(up, right[:, 1], right[:, 0]).mean()), float(spent.mean())

    def cut(self, rows: Answered, target: float, picked: NDArray[np.intp]) -> float:
        """The cheapest cut-off that reaches the target on these rows; everything, if none does."""
        wanted = target * rows.right[picked, 1].mean()
        offered = [float("-inf"), *np.unique(self.rank[picked]), float("inf")]
        found = [(self.outcome(rows, cut, picked), cut) for cut in offered]
        able = [(cost, cut) for (quality, cost), cut in found if quality >= wanted - 1e-9]
        return min(able)[1] if able else float("-inf")


def saved(way: Way, rows: Answered, target: float, draw: np.random.Generator) -> tuple[float, ...]:
    """(share of always-large's cost saved, quality as a share of large's), cross-fitted once."""
    order = draw.permutation(len(rows.right))
    halves = np.array_split(order, 2)
    quality = cost = 0.0
    for learn, test in (halves, halves[::-1]):
        cut = way.cut(rows, target, learn)
        one, spent = way.outcome(rows, cut, test)
        quality += one * len(test) / len(order)
        cost += spent * len(test) / len(order)
    return 1 - cost / rows.cost_usd[:, 1].mean(), quality / rows.right[:, 1].mean()


def interval(measure: Callable[[np.random.Generator], float]) -> tuple[float, float, float]:
    """Median and 95 % of repeated draws."""
    values = [measure(np.random.default_rng(seed)) for seed in range(_ROUNDS)]
    low, middle, high = np.percentile(values, [2.5, 50, 97.5])
    return float(middle), float(low), float(high)


def resampled(way: Way, rows: Answered, draw: np.random.Generator) -> tuple[Way, Answered]:
    """The same with rows drawn anew."""
    picked = draw.integers(0, len(rows.right), len(rows.right))
    again = Answered(rows.tasks, rows.right[picked], rows.cost_usd[picked], rows.doubt[picked])
    return Way(way.rank[picked], way.paid), again


def compared(rows: Answered, need: Floats, taught: Floats) -> dict[str, Way]:
    """The strategies side by side; "both" lets score and doubt speak."""
    rules = np.array([complexity(task.prompt) for task in rows.tasks])
    chance = np.random.default_rng(7).uniform(size=len(rules))
    return {
        "learned": Way(need, paid=False),
        "learned, taught": Way(taught, paid=False),
        "heuristic": Way(rules, paid=False),
        "random": Way(chance, paid=False),
        "cascade": Way(rows.doubt, paid=True),
        "both, taught": Way((_ranked(taught) + _ranked(rows.doubt)) / 2, paid=True),
    }


def _ranked(values: Floats) -> Floats:
    """(n,) places from 0 to 1, ties shared."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return np.asarray(middle[place] / len(values))


def report(rows: Answered, need: Floats, taught: Floats) -> list[dict[str, object]]:
    """One row a strategy: APGR, and what is saved at each target."""
    weak, strong = rows.right.T
    told = []
    for name, way in compared(rows, need, taught).items():
        area = bootstrap(apgr, way.rank, weak, strong)
        spread = (area.value, area.low, area.high)
        line: dict[str, object] = {"strategy": name, "apgr": spread}
        for target in _TARGETS:
            for place, what in enumerate(("saved", "quality")):

                def once(
                    draw: np.random.Generator, place: int = place, target: float = target,
                    way: Way = way,
                ) -> float:  # fmt: skip
                    return saved(*resampled(way, rows, draw), target, draw)[place]

                line[f"{what}_at_{target:.2f}"] = interval(once)
        told.append(line)
    return told


def main() -> None:
    """Ask, grade, replay, print, and write JSON to `bench/out/`."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__)
    parser.add_argument("archive", type=Path, help="bigbench-1.0.0.tar.gz")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--tiers", nargs=2, default=("small", "large"))
    parser.add_argument("--each", type=int, default=14, help="examples a task")
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--weights", type=Path, default=DEFAULT_ARTEFACT)
    parser.add_argument("--replay", action="store_true", help="use the last run's answers again")
    given = parser.parse_args()
    console = Console()
    tasks = read(given.archive, given.each)
    console.log(f"{len(tasks)} prompts of {len({task.name for task in tasks})} tasks")
    tiers = (given.tiers[0], given.tiers[1])
    if given.replay:
        kept = np.load(OUT / "routing.npz")
        rows = Answered(tuple(tasks), kept["right"], kept["cost_usd"], kept["doubt"])
    else:
        rows = asyncio.run(answered(given.url, tasks, tiers, given.max_tokens, given.at_once))
    lines = report(rows, *scores(rows, Scorer.load(given.weights)))
    right, cost = rows.right.mean(axis=0), rows.cost_usd.mean(axis=0)
    summary = (
        f"right: small {right[0]:.3f}, large {right[1]:.3f}; cost ratio {cost[1] / cost[0]:.1f}"
    )
    OUT.mkdir(exist_ok=True)
    told = {"prompts": len(tasks), "right": right.tolist(), "cost_usd": cost.tolist()}
    (OUT / "routing.json").write_text(json.dumps(told | {"strategies": lines}, indent=1) + "\n")
    np.savez(OUT / "routing.npz", right=rows.right, cost_usd=rows.cost_usd, doubt=rows.doubt)
    table = Table(*lines[0], title=summary)
    for line in lines:
        table.add_row(*(_shown(value) for value in line.values()))
    console.print(table)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
