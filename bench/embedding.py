"""What an embedding costs and how true it is: the int8 graph beside the one it replaced.

    python -m bench.embedding --prompts data/router/routellm_mmlu.parquet

Promises: both graphs embed the same texts in one thread, in turns in one run, so that a machine's
moods fall on both alike; milliseconds are CPU time, tokenizing included. With `--prompts`, a
parquet file with a column `prompt`, rows are compared with those of the float32 weights in torch,
and decisions, at the shipped weights' own threshold, with those on the former graph's rows.
`--prompts` also compares texts run one by one with texts of one length run together.
Not covered: a load, under which texts wait for each other.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch
import transformers
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from core.ports import Embedder
from router.score.conversation import read
from router.score.features import of_conversation
from router.score.model import Scorer
from text.embed import (
    EMBEDDING_SIZE,
    MODEL_FILE,
    MODEL_PACKAGE,
    WEIGHTS_FILE,
    WEIGHTS_PACKAGE,
    MiniLM,
    packaged_file,
)

LENGTHS_TOKENS = (16, 64, 128, 256)
BATCHES = (2, 4, 8)
_BATCH_TOKENS = (24, 48, 96)
_SAMPLE = 400  # texts compared
_TIMED = 32  # texts timed
_ENDS = 2  # the tokens that stand before and after every text
Encode = Callable[[str], list[int]]


class Former:
    """The graph that was in use before: int8 weights, computed in float32."""

    def __init__(self, token_ids: Encode) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._token_ids = token_ids
        self._graph = onnxruntime.InferenceSession(
            str(packaged_file(MODEL_PACKAGE, MODEL_FILE)),
            options,
            providers=["CPUExecutionProvider"],
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, 384) float32, each row of length 1."""
        return _stacked(self._hidden, texts)

    def _hidden(self, text: str) -> NDArray[np.float32]:
        ids = np.array([self._token_ids(text)])
        given = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        return np.asarray(self._graph.run(["last_hidden_state"], given)[0][0], dtype=np.float32)


class Float32:
    """The published weights in torch, by the code of their authors."""

    def __init__(self, token_ids: Encode) -> None:
        self._token_ids = token_ids
        folder = packaged_file(WEIGHTS_PACKAGE, WEIGHTS_FILE).parent
        self._model = transformers.BertModel.from_pretrained(folder, dtype=torch.float32).eval()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, 384) float32, each row of length 1."""
        with torch.inference_mode():
            return _stacked(self._hidden, texts)

    def _hidden(self, text: str) -> NDArray[np.float32]:
        hidden = self._model(torch.tensor([self._token_ids(text)])).last_hidden_state[0]
        return np.asarray(hidden.numpy(), dtype=np.float32)


def cpu_ms(
    embedders: Mapping[str, Embedder], text: str, rounds: int, repeats: int = 3
) -> dict[str, float]:
    """Each one's median CPU milliseconds for `text`, in turns."""
    spent: dict[str, list[float]] = {name: [] for name in embedders}
    for number in range(rounds + 1):
        for name, embedder in embedders.items():
            began_ns = time.process_time_ns()
            for _ in range(repeats):
                embedder.embed([text])
            if number:  # the first round warms up
                spent[name].append((time.process_time_ns() - began_ns) / repeats / 1e6)
    return {name: statistics.median(times) for name, times in spent.items()}


def needs(prompts: Sequence[str], rows: NDArray[np.float32], scorer: Scorer) -> NDArray[np.float64]:
    """(N,) how much each prompt, with its row of (N, 384), needs the large model."""
    surfaces = [of_conversation(read([{"role": "user", "content": text}])) for text in prompts]
    pairs = zip(rows, surfaces, strict=True)
    return np.array([scorer.score(row, surface).need for row, surface in pairs])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.embedding", description=__doc__)
    parser.add_argument("--prompts", type=Path, help="a parquet file with a column `prompt`")
    parser.add_argument("--sample", type=int, default=300, help="prompts to compare")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    now = MiniLM.installed()
    both: dict[str, Embedder] = {"float32": Former(now.token_ids), "int8": now}
    console = Console()
    console.print(_times(both, now, given.rounds))
    if given.prompts:
        column = pd.read_parquet(given.prompts, columns=["prompt"])["prompt"]
        prompts = column.sample(min(given.sample, len(column)), random_state=0).tolist()
        console.print(_batches(now, column.tolist(), given.rounds))
        torch.set_num_threads(1)
        console.print(_likeness(both, Float32(now.token_ids), prompts))


def _times(both: Mapping[str, Embedder], encoder: MiniLM, rounds: int) -> Table:
    table = Table("tokens", *both, "ratio", title="p50 CPU ms for one text, one thread")
    for tokens in LENGTHS_TOKENS:
        text = "cab " * (tokens - _ENDS)
        if (found := encoder.count_tokens(text)) != tokens:
            raise RuntimeError(f"a text meant to have {tokens} tokens has {found}")
        former, now = cpu_ms(both, text, rounds).values()
        table.add_row(str(tokens), f"{former:.2f}", f"{now:.2f}", f"{former / now:.1f}")
    return table


def _batches(encoder: MiniLM, prompts: Sequence[str], rounds: int) -> Table:
    """Real texts of about one length, cut to the same: together, and one by one, in turns."""
    scorer = Scorer.load()
    table = Table(
        "tokens", "together", "CPU ms a text, alone", "together", "ratio", "least cosine",
        "decided otherwise", title="texts of one length, one thread",
    )  # fmt: skip
    for tokens in _BATCH_TOKENS:
        long = [text for text in prompts if encoder.count_tokens(text) >= tokens][:_SAMPLE]
        ids = np.array([encoder.token_ids(text)[:tokens] for text in long], dtype=np.int64)
        alone = np.concatenate([encoder.embed_ids(one[None]) for one in ids])
        first = needs(long, alone, scorer) >= scorer.threshold
        for size in BATCHES:
            parts = [ids[at : at + size] for at in range(0, len(ids), size)]
            rows = np.concatenate([encoder.embed_ids(part) for part in parts])
            spent = _in_turns(encoder, ids[:_TIMED], size, rounds)
            other = (needs(long, rows, scorer) >= scorer.threshold) != first
            table.add_row(
                str(tokens), str(size), f"{spent[0]:.2f}", f"{spent[1]:.2f}",
                f"{spent[0] / spent[1]:.2f}", f"{(rows * alone).sum(axis=1).min():.4f}",
                f"{other.mean():.1%}",
            )  # fmt: skip
    return table


def _in_turns(
    encoder: MiniLM, ids: NDArray[np.int64], size: int, rounds: int
) -> tuple[float, float]:
    """Median CPU milliseconds a text, one by one and `size` together."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for step, times in zip((1, size), spent, strict=True):
            began_ns = time.process_time_ns()
            for at in range(0, len(ids), step):
                encoder.embed_ids(ids[at : at + step])
            times.append((time.process_time_ns() - began_ns) / len(ids) / 1e6)
    return statistics.median(spent[0]), statistics.median(spent[1])


def _likeness(both: Mapping[str, Embedder], truth: Embedder, prompts: Sequence[str]) -> Table:
    scorer = Scorer.load()
    true = truth.embed(prompts)
    rows = {name: embedder.embed(prompts) for name, embedder in both.items()}
    large = {name: needs(prompts, one, scorer) >= scorer.threshold for name, one in rows.items()}
    first = next(iter(large.values()))
    table = Table(
        "graph", "mean cosine", "least", "to the large model", "decided otherwise",
        title=f"{len(prompts)} prompts, beside the published weights in torch",
    )  # fmt: skip
    for name, one in rows.items():
        cosines = (one * true).sum(axis=1)
        table.add_row(
            name,
            f"{cosines.mean():.4f}",
            f"{cosines.min():.4f}",
            f"{large[name].mean():.1%}",
            f"{(large[name] != first).mean():.1%}",
        )
    return table


def _stacked(
    hidden: Callable[[str], NDArray[np.float32]], texts: Sequence[str]
) -> NDArray[np.float32]:
    """(N, 384) from the (T, 384) token vectors of each text: their mean, of length 1."""
    means = [hidden(text).mean(axis=0) for text in texts]
    rows = np.array(means, dtype=np.float32).reshape(len(texts), EMBEDDING_SIZE)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
