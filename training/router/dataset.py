"""Load the router's training data: published answers of model pairs, and our own prompts.

Promises: rows in a fixed order; equal prompts (and all prompts of one family of ours) share a fold.
Only sources whose prompts and scores both carry a licence are read.
Not covered: serving never imports this module; pandas is needed for training only.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.files import text_file
from router.score.features import surface
from text.embed import MiniLM
from training.router.prompts import OwnPrompt, own_prompts
from training.router.stories import WordProblem, word_problems

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

SOURCES = (
    "routellm_mmlu",
    "routerbench_arc_mbpp_winogrande",
    "llmrouter_uiuc",
    "zeroeval_math-l5",
    "mmlu_pro",
)
OWN, OWN_HELD_OUT = "own", "own_held_out"
LEARNED = (*SOURCES, OWN)
FOLDS = 5
# The probabilities speak of this pair on this exam: Mixtral-8x7B and GPT-4-1106.
REFERENCE = "routellm_mmlu"
# One answer to one prompt is a noisy label of how hard the prompt is. Models of about the same
# strength answered it too: half of what is learned is their mean. What is measured is the pair.
PEER_SHARE = 0.5
PEERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "routellm_mmlu": ((), ()),
    "routerbench_arc_mbpp_winogrande": (
        ("gpt-3.5-turbo-1106", "zero-one-ai/Yi-34B-Chat", "meta/llama-2-70b-chat"),
        (),
    ),
    "llmrouter_uiuc": (
        ("codegemma-7b", "gemma-2-9b-it", "qwen2.5-7b-instruct"),
        ("llama-3.3-nemotron-super-49b-v1",),
    ),
    "zeroeval_math-l5": (
        (
            "Meta-Llama-3.1-8B-Instruct",
            "Qwen2-7B-Instruct",
            "Phi-3.5-mini-instruct",
            "Llama-3.1-405B-Inst@sambanova",
            "Meta-Llama-3.1-70B-Instruct",
            "gemma-2-27b-it",
        ),
        (
            "gpt-4-turbo-2024-04-09",
            "gpt-4o-2024-08-06",
            "claude-3-5-sonnet-20241022",
            "Mistral-Large-2",
            "grok-2-1212",
        ),
    ),
    "mmlu_pro": (
        (
            "Mixtral-8x7B-Instruct-v0.1",
            "Phi-3-mini-4k-instruct",
            "Meta-Llama-3_1-8B",
            "mathstral-7B",
            "Yi-34B",
        ),
        ("gemini-1.5-flash-002", "gemini-1.5-pro-002", "DeepSeek-Coder-V2"),
    ),
}


@dataclass(frozen=True, slots=True)
class PromptTable:
    """The rows of every source, in one order.

    source, subject, prompt: (n,) names and texts, an empty subject where none is told;
    right (n, 2): how right (small, large) was, in [0, 1];
    target (n, 2): what is learned, `right` steadied by the answers of peers;
    embeddings (n, E); surfaces (n, F); fold (n,): rows with equal folds are left out together.
    """

    source: NDArray[np.str_]
    subject: NDArray[np.str_]
    prompt: tuple[str, ...]
    right: Floats
    target: Floats
    embeddings: NDArray[np.float32]
    surfaces: NDArray[np.float32]
    fold: Rows

    def of(self, *sources: str) -> Rows:
        """Indices of the rows of these sources."""
        return np.flatnonzero(np.isin(self.source, sources))


def load(data: Path, cache: Path | None) -> PromptTable:
    """Read the sources with their pairs, add our own prompts, embed and measure all."""
    pairs = json.loads(text_file.read(data / "pairs.json"))
    prompts: list[str] = []
    groups: list[str] = []
    source: list[str] = []
    subject: list[str] = []
    right: list[Floats] = []
    target: list[Floats] = []
    for name in SOURCES:
        frame = pd.read_parquet(data / f"{name}.parquet")
        if "contaminated" in frame:
            frame = frame[~frame["contaminated"]]
        frame = frame.dropna(subset=[f"score::{model}" for model in pairs[name]])
        prompts += list(frame["prompt"])
        groups += [" ".join(prompt.lower().split()) for prompt in frame["prompt"]]
        source += [name] * len(frame)
        subject += list(frame["subgroup"]) if "subgroup" in frame else [""] * len(frame)
        right.append(np.stack([_mean(frame, (model,)) for model in pairs[name]], axis=1))
        target.append(_steadied(frame, right[-1], PEERS[name]))
    trained: list[OwnPrompt | WordProblem]
    trained = [*own_prompts(held_out=False), *word_problems()]
    for name, ours in ((OWN, trained), (OWN_HELD_OUT, [*own_prompts(held_out=True)])):
        prompts += [own.text for own in ours]
        groups += [own.family for own in ours]
        source += [name] * len(ours)
        subject += [""] * len(ours)
        right.append(np.array([(own.p_small, own.p_large) for own in ours]))
        target.append(right[-1])
    return PromptTable(
        source=np.array(source),
        subject=np.array(subject),
        prompt=tuple(prompts),
        right=np.concatenate(right),
        target=np.concatenate(target),
        embeddings=_embedded(prompts, cache),
        surfaces=np.stack([surface([{"role": "user", "content": text}]) for text in prompts]),
        fold=np.array([zlib.crc32(group.encode()) % FOLDS for group in groups]),
    )


def _mean(frame: pd.DataFrame, models: Sequence[str]) -> Floats:
    """(n,) how right these models were on average; one without a score of a row is left out."""
    scores = frame[[f"score::{model}" for model in models]].astype(float)
    return np.asarray(scores.mean(axis=1), dtype=np.float64)


def _steadied(
    frame: pd.DataFrame, right: Floats, peers: tuple[tuple[str, ...], tuple[str, ...]]
) -> Floats:
    """(n, 2) `right` with `PEER_SHARE` of the peers' mean, where a head has peers."""
    target = right.copy()
    for head, models in enumerate(peers):
        if models:
            target[:, head] += PEER_SHARE * (_mean(frame, models) - right[:, head])
    return target


def _embedded(prompts: Sequence[str], cache: Path | None) -> NDArray[np.float32]:
    """(n, E) embeddings; those of prompts met in an earlier run come from the cache."""
    digests = [hashlib.sha256(prompt.encode()).hexdigest() for prompt in prompts]
    known: dict[str, NDArray[np.float32]] = {}
    if cache is not None and cache.is_file():
        with np.load(cache, allow_pickle=False) as stored:
            known = dict(zip(stored["digests"].tolist(), stored["rows"], strict=True))
    embedder = MiniLM.installed()
    for digest, prompt in zip(digests, prompts, strict=True):
        if digest not in known:
            known[digest] = embedder.embed([prompt])[0]
    rows = np.stack([known[digest] for digest in digests])
    if cache is not None:
        np.savez(cache, rows=rows, digests=np.array(digests))
    return rows
