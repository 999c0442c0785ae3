"""Ours beside GPTCache and RedisVL: the same rows, the same vectors, what is served and how wrong.

    python3.11 -m venv PEERS && PEERS/bin/pip install -r requirements/peers.txt
    HANSOM_PEERS_PYTHON=PEERS/bin/python python -m bench.semantic_peers DATA_DIR

Promises: the peers' real packages search and decide, in an environment of their own
(`bench/semantic_peer_side.py`); all get our embedding, so that rules are compared and not models.
A peer has its default threshold, and in hindsight the one that does best with the labels of the
rows it is measured on. Ours is told twice: as shipped, which has learned from some of these rows,
and out of fold, by trees that saw nothing of a pair's group or of a request's intent. A peer that
cannot run is told as such. Not covered: speed, and the embeddings that the peers would choose.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.peer_redis import own_redis, search_module
from bench.semantic import POOLED, STREAMS, pair_sets, served_pairs
from bench.semantic import stream_marks as replayed
from bench.semantic_rows import (
    TAUGHT,
    THRESHOLD,
    Bools,
    Probed,
    SemanticRow,
    Told,
    context_table,
    pair_tables,
    stream_table,
    table,
    unlike,
)
from cache.semantic.consensus import Candidate, EntryChoice, choose
from cache.semantic.pair import PromptReader
from cache.semantic.verify import Verifier
from cache.tuning.dataset import Pair, Probe, Request, load, load_stream
from cache.tuning.evaluation import DEFAULT_LEVEL, Examiner
from core.ports import Embedder
from text.embed import MiniLM
from training.cache.train import Replays, learn_pairs

PYTHON_VARIABLE = "HANSOM_PEERS_PYTHON"
TRIED_COSINES = (0.80, 0.85, 0.92, 0.95, 0.97)  # each stream is run at these and at the default
OUT = Path(__file__).parent / "out"
_SIDE = Path(__file__).with_name("semantic_peer_side.py")
_TIMEOUT_S = 1800.0


class Ours:
    """Our side: as shipped, and out of fold."""

    def __init__(self, data: Path, embedder: MiniLM) -> None:
        self._reader = PromptReader(embedder, kept=1 << 15)
        self._verifier = Verifier.load(self._reader)
        self._examiner = Examiner(embedder, self._verifier)
        self._data = data
        self._replays = Replays(data, embedder)
        self.levels = tuple(self._verifier.thresholds)

    def pairs(self, sets: Mapping[str, Sequence[Pair]]) -> dict[tuple[str, str], dict[str, Bools]]:
        """What is served of each set by (setting, level)."""
        _, table, probability = learn_pairs(self._data, self._reader)
        found: dict[tuple[str, str], dict[str, Bools]] = {}
        for level, cut in self._verifier.thresholds.items():
            examiner = Examiner(self._examiner.embedder, self._verifier, level)
            shipped, _ = served_pairs(examiner, sets)
            unseen = table.passed & (probability >= cut.pair)
            held_out = {
                name: unseen[table.source == name] if name in TAUGHT else shipped[name]
                for name in sets
            }
            found["out of fold", level], found["as shipped", level] = held_out, shipped
        return found

    def streams(
        self, requests: Mapping[str, Sequence[Request]], rows: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, list[SemanticRow]]:
        """Each stream at the default level."""
        _, by_fold = self._replays.learn()
        cuts = self._verifier.thresholds[DEFAULT_LEVEL]
        marks = self._replays.marks(self._replays.judges(by_fold, self._verifier), cuts)
        settings = self._examiner.settings

        def decide(text: str, near: Sequence[Candidate]) -> EntryChoice:
            return choose(text, near, self._verifier, settings)

        return {
            name: [
                SemanticRow("ours", "out of fold", *marks[name]),
                SemanticRow("ours", "as shipped", *replayed(told, rows[name], decide)),
            ]
            for name, told in requests.items()
        }

    def context(self, path: Path) -> Probed:
        """The context probes, through `cache.scope`."""
        report = self._examiner.evaluate_file(path)
        right, must_hit = report.recall.count, report.recall.of
        return Probed("ours", report.wrong.count, report.hits.of - must_hit, right, must_hit)


def ask_peer(name: str, python: Path, folder: Path) -> Told | str:
    """What a peer did of the folder's job, or why it could not."""
    with ExitStack() as stack:
        try:
            command = [str(python), str(_SIDE), str(folder), name]
            if name == "redisvl":
                port = stack.enter_context(own_redis(search_module(python)))
                command.append(f"redis://127.0.0.1:{port}")
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, env=env
            )
        except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
            return repr(error)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return Told.read((folder / f"{name}.json").read_text(encoding="utf-8"))


def write_job(
    folder: Path,
    embedder: Embedder,
    sets: Mapping[str, Sequence[Pair]],
    requests: Mapping[str, Sequence[Request]],
    probes: Sequence[Probe],
) -> dict[str, NDArray[np.float32]]:
    """Everything the peers need; returns the streams' rows."""
    texts = {text for rows in sets.values() for one in rows for text in (one.cached, one.query)}
    texts |= {one.text for told in requests.values() for one in told}
    texts |= {words(body) for one in probes for body in one.bodies}
    ordered = sorted(texts)
    rows = embedder.embed(ordered)
    place = {text: number for number, text in enumerate(ordered)}
    np.save(folder / "rows.npy", rows)
    job = {
        "texts": ordered,
        "pairs": {name: [(one.cached, one.query) for one in told] for name, told in sets.items()},
        "streams": {name: [one.text for one in told] for name, told in requests.items()},
        "context": [one.bodies for one in probes],
        "thresholds": {
            name: [round(of(cosine), 6) for cosine in TRIED_COSINES]
            for name, of in THRESHOLD.items()
        },
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return {name: rows[[place[one.text] for one in told]] for name, told in requests.items()}


def words(body: Mapping[str, object]) -> str:
    """The last message's text. Raises `TypeError` for anything but a chat of plain texts."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not isinstance(messages[-1]["content"], str):
        raise TypeError("a chat's last message with a text is wanted")
    return str(messages[-1]["content"])


@dataclass(frozen=True, slots=True)
class Compared:
    """All tables by their title, the context probes, and rows decided unlike the own score."""

    tables: dict[str, list[SemanticRow]]
    context: list[Probed]
    unlike: dict[str, int]


def compare(data: Path, python: Path, console: Console) -> Compared:
    """Run the peers and ours on the same rows; a peer that could not run says why in its row."""
    embedder = MiniLM.installed()
    sets = pair_sets(data, POOLED)
    requests = {
        name: load_stream(data / f"{name}.stream.jsonl.gz")[:count]
        for name, count in STREAMS.items()
    }
    file = data / "context_probes.jsonl.gz"
    probes = [one for one in load(file) if isinstance(one, Probe)]
    ours = Ours(data, embedder)
    told: dict[str, Told | str] = {}
    with tempfile.TemporaryDirectory(prefix="hansom-bench-") as scratch:
        console.log("embedding")
        rows = write_job(Path(scratch), embedder, sets, requests, probes)
        for name in THRESHOLD:
            console.log(f"asking {name}")
            told[name] = ask_peer(name, python, Path(scratch))
    console.log("asking ours, and training out of fold")
    tables = pair_tables(sets, ours.pairs(sets), told)
    for name, mine in ours.streams(requests, rows).items():
        tables[f"{name}, cold"] = stream_table(name, requests[name], mine, told)
    hits = [one.hit for one in probes]
    return Compared(
        tables,
        [ours.context(file), *(Probed.of(name, one, hits) for name, one in told.items())],
        {name: unlike(name, one) for name, one in told.items() if isinstance(one, Told)},
    )


def main() -> None:
    """Compare, print, and write JSON to `bench/out/`."""
    parser = argparse.ArgumentParser(prog="python -m bench.semantic_peers", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the *.jsonl.gz files")
    parser.add_argument(
        "--peers", type=Path, default=os.environ.get(PYTHON_VARIABLE), help="the peers' Python"
    )
    given = parser.parse_args()
    if given.peers is None:
        parser.error(f"name the peers' Python with --peers or {PYTHON_VARIABLE}")
    console = Console(width=150)
    load_before = os.getloadavg()[0]
    found = compare(given.data, given.peers, console)
    for title, rows in found.tables.items():
        console.print(table(title, rows))
    console.print(context_table(found.context))
    console.print(f"decided unlike the own score: {found.unlike}; load before: {load_before:.1f}")
    OUT.mkdir(exist_ok=True)
    whole = json.dumps({"load_average": load_before, **asdict(found)}, indent=1)
    (OUT / "semantic_peers.json").write_text(whole + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
