"""What routing saves, end to end, on the models that are served now, and how long it makes wait.

    hansom serve &
    python -m bench.routing bigbench-1.0.0.tar.gz
    python -m bench.routing bigbench-1.0.0.tar.gz --replay

Promises: every prompt is answered by both tiers through the endpoint, at temperature 0, and graded
by rule; every strategy is then replayed on these answers (`bench/replay.py`), with the costs that
the endpoint told and the seconds that the client waited. Texts and log-probabilities are kept, so
that a replay grades and doubts anew. Small and large are asked in turn, so that a changing load
falls on both. Not covered: waiting times under load, unless `--at-once` says so, and answers longer
than `--max-tokens`.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.bigbench import Task, read
from bench.replay import AnsweredRow, alone, compared, report
from learning.measures import auroc, bootstrap
from router.adapt.adapt import LabelledPrompt, fit
from router.judge.cascade import judge
from router.score.conversation import read as read_conversation
from router.score.features import of_conversation
from router.score.heuristic import complexity
from router.score.model import DEFAULT_ARTEFACT, Scorer
from text.embed import MiniLM

OUT = Path(__file__).parent / "out"
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RoutedAnswer:
    """What a tier said, its cost in USD, the client's wait, and the log-probs of its tokens."""

    text: str
    cost_usd: float
    seconds: float
    logprobs: tuple[float, ...]


Pair = tuple[RoutedAnswer, RoutedAnswer]


async def ask(client: httpx.AsyncClient, tier: str, prompt: str, max_tokens: int) -> RoutedAnswer:
    """One answer through the endpoint."""
    body = {
        "model": tier,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "logprobs": True,
    }
    begun = time.perf_counter()
    got = (await client.post("/v1/chat/completions", json=body)).raise_for_status()
    seconds = time.perf_counter() - begun
    choice = got.json()["choices"][0]
    tokens = (choice.get("logprobs") or {}).get("content") or []
    return RoutedAnswer(
        choice["message"]["content"] or "",
        float(got.headers["x-hansom-cost-usd"]),
        seconds,
        tuple(float(one["logprob"]) for one in tokens),
    )


async def asked(
    url: str, tasks: Sequence[Task], tiers: tuple[str, str], max_tokens: int, at_once: int
) -> list[Pair]:
    """Every task by small, then by large; `at_once` tasks at a time, without the cache."""
    headers = {"x-hansom-cache": "off"}
    places = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(base_url=url, timeout=600, headers=headers) as client:

        async def one(task: Task) -> Pair:
            async with places:
                first = await ask(client, tiers[0], task.prompt, max_tokens)
                return first, await ask(client, tiers[1], task.prompt, max_tokens)

        return await asyncio.gather(*map(one, tasks))


def save(path: Path, pairs: Sequence[Pair]) -> None:
    """Keep answers: (n, 2) each, the log-probabilities in one row after another."""
    flat = [one for pair in pairs for one in pair]
    np.savez(
        path,
        texts=np.array([[one.text for one in pair] for pair in pairs]),
        cost_usd=np.array([[one.cost_usd for one in pair] for pair in pairs]),
        seconds=np.array([[one.seconds for one in pair] for pair in pairs]),
        counts=np.array([[len(one.logprobs) for one in pair] for pair in pairs]),
        logprobs=np.array([each for one in flat for each in one.logprobs]),
    )


def load(path: Path) -> list[Pair]:
    """The answers that `save` kept; raises `OSError`, and `KeyError` of another file."""
    with np.load(path) as kept:
        texts, cost, seconds = kept["texts"], kept["cost_usd"], kept["seconds"]
        logprobs = np.split(kept["logprobs"], np.cumsum(kept["counts"].ravel())[:-1])
    flat = [
        RoutedAnswer(str(text), float(usd), float(wait), tuple(map(float, tokens)))
        for text, usd, wait, tokens in zip(
            texts.ravel(), cost.ravel(), seconds.ravel(), logprobs, strict=True
        )
    ]
    return list(zip(flat[::2], flat[1::2], strict=True))


def graded(tasks: Sequence[Task], pairs: Sequence[Pair], predict_s: Floats) -> AnsweredRow:
    """The answers as rows, with the doubt that the cascade has in small's."""
    both = list(zip(tasks, pairs, strict=True))
    doubts = [judge(task.prompt, one.text, one.logprobs).value for task, (one, _) in both]
    return AnsweredRow(
        np.array([[float(task.right(one.text)) for one in pair] for task, pair in both]),
        np.array([[one.cost_usd for one in pair] for pair in pairs]),
        np.array([[one.seconds for one in pair] for pair in pairs]),
        predict_s,
        np.array(doubts),
    )


@dataclass(frozen=True, slots=True)
class ScoreInputs:
    """What a score reads of n prompts, embedded (n, E) and counted (n, F), and what it took."""

    embedded: NDArray[np.float32]
    counted: NDArray[np.float32]
    seconds: Floats


def see(tasks: Sequence[Task], scorer: Scorer) -> ScoreInputs:
    """Embed, count and score one prompt after another, and time all three."""
    embedder, embedded, counted, seconds = MiniLM.installed(), [], [], []
    for task in track(tasks, "scoring", transient=True):
        begun = time.perf_counter()
        conversation = read_conversation([{"role": "user", "content": task.prompt}])
        embedded.append(embedder.embed([conversation.asked])[0])
        counted.append(of_conversation(conversation))
        scorer.judge(embedded[-1][None], counted[-1][None])
        seconds.append(time.perf_counter() - begun)
    return ScoreInputs(np.stack(embedded), np.stack(counted), np.array(seconds))


def scores(right: Floats, seen: ScoreInputs, scorer: Scorer) -> tuple[Floats, Floats]:
    """(n,) the learned score, and (n,) the same taught by the labels of the other half."""
    taught = np.empty(len(right))
    halves = np.array_split(np.random.default_rng(1).permutation(len(right)), 2)
    for learn, test in (halves, halves[::-1]):
        labelled = LabelledPrompt(seen.embedded[learn], seen.counted[learn], right[learn])
        lesson = fit(scorer, labelled)
        taught[test] = lesson.judge(seen.embedded[test], seen.counted[test]).rank
    return scorer.judge(seen.embedded, seen.counted).rank, taught


def main() -> None:
    """Ask, grade, replay, print, and write JSON to `bench/out/`."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__)
    parser.add_argument("archive", type=Path, help="bigbench-1.0.0.tar.gz")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--tiers", nargs=2, default=("small", "large"))
    parser.add_argument("--each", type=int, default=14, help="examples a task")
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=DEFAULT_ARTEFACT)
    parser.add_argument("--replay", action="store_true", help="use the last run's answers again")
    given = parser.parse_args()
    tasks = read(given.archive, given.each)
    print(f"{len(tasks)} prompts of {len({task.name for task in tasks})} tasks")
    OUT.mkdir(exist_ok=True)
    kept = OUT / "routing.npz"
    if not given.replay:
        tiers = (given.tiers[0], given.tiers[1])
        save(kept, asyncio.run(asked(given.url, tasks, tiers, given.max_tokens, given.at_once)))
    scorer = Scorer.load(given.weights)
    seen = see(tasks, scorer)
    rows = graded(tasks, load(kept), seen.seconds)
    rules = np.array([complexity(task.prompt) for task in tasks])
    need, taught = scores(rows.right, seen, scorer)
    lines = report(rows, compared(rows, need, taught, rules))
    told = summary(rows)
    (OUT / "routing.json").write_text(json.dumps(told | {"strategies": lines}, indent=1) + "\n")
    show(told, lines)


def summary(rows: AnsweredRow) -> dict[str, object]:
    """What both tiers do by themselves; seconds as mean, p50 and p95 with their intervals."""
    known = bootstrap(auroc, rows.doubt, 1 - rows.right[:, 0])
    return {
        "prompts": len(rows.right),
        "right": rows.right.mean(axis=0).tolist(),
        "cost_usd": rows.cost_usd.mean(axis=0).tolist(),
        "doubt_auroc": (known.value, known.low, known.high),
        "small_seconds": alone(rows.seconds[:, 0]),
        "large_seconds": alone(rows.seconds[:, 1]),
        "predict_seconds": alone(rows.predict_s),
    }


def show(told: dict[str, object], lines: Sequence[dict[str, object]]) -> None:
    """One table of the tiers, one of cost and quality, and one of waiting."""
    console = Console(width=260)
    for name, value in told.items():
        console.print(name, _shown(value))
    for title, parts in (("cost and quality", ("apgr", "saved", "quality")), ("seconds", ("_s_",))):
        wanted = ["strategy", *(key for key in lines[0] if any(part in key for part in parts))]
        table = Table(*wanted, title=title)
        for line in lines:
            table.add_row(*(_shown(line[key]) for key in wanted))
        console.print(table)


def _shown(value: object) -> str:
    if isinstance(value, tuple) and isinstance(value[0], float):
        return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_shown, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
