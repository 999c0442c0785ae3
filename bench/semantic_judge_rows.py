"""The labelled pairs that `bench.semantic_judge` puts to a model, and the wordings it tries.

Promises:
- A case is a pair that passes all gates, drawn at random within its set by a seed.
- A stream's case is a request and the nearest of its earlier requests that passes, in a replay in
  front of a cold cache that serves by the trees.
Not covered: asking (`bench.semantic_judge_engine`) and what the answers are worth.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.language.mismatch import never, refusal
from cache.semantic.consensus import Candidate, EntryChoice, choose
from cache.semantic.question import question
from cache.tuning.dataset import OUT_OF_SCOPE, Pair, Request, load_pairs, load_stream
from cache.tuning.evaluation import Examiner
from cache.tuning.simulate import replay

CASES_FILE, ANSWERS_FILE = "cases.jsonl", "answers.jsonl"
# Cases of each set, for a sample of 400; the first rows of a set are drawn from.
SHARES = {
    "redis_nearmiss": 60,
    "probes": 30,
    "medical_qp": 90,
    "qqp_gptcache": 80,
    "paws_qqp": 30,
    "banking77": 60,
    "clinc150": 50,
}
STREAMS = ("banking77", "clinc150")
# Sets that the trees learned from: what they say of these looks better than it is.
TAUGHT = ("redis_nearmiss", "probes", "banking77", "clinc150")
MOST_ROWS, MOST_REQUESTS = 2000, 1500
# Pairs farther than this are not drawn.
LEAST_COSINE = 0.3


# Of none of the sets, so that they tell nothing about a pair that is asked about.
EXAMPLES = (
    ("How do I reset my password?", "I forgot my password, what now?", "Yes"),
    ("How do I turn notifications on?", "How do I switch off notifications?", "No"),
    ("What are the signs of a flat battery?", "How do I replace a flat battery?", "No"),
    ("Where is my parcel?", "My delivery has not arrived yet, can you track it?", "Yes"),
    ("Can I pay by card?", "Which card do I need to enter the gym?", "No"),
    ("When does the library open?", "What are the library's opening times?", "Yes"),
)
_TASK = (
    "Decide whether the complete and correct answer to message A is also the complete and correct "
    "answer to message B. Reply with one word, Yes or No."
)


def with_examples(cached: str, query: str) -> str:
    """The other wording: six answered pairs, which a prefix cache holds, then the pair."""
    shown = "\n\n".join(f"{_pair(one, other)} {said}" for one, other, said in EXAMPLES)
    return f"{_TASK}\n\n{shown}\n\n{_pair(cached, query)}"


def _pair(cached: str, query: str) -> str:
    return f"A: {cached}\nB: {query}\nSame answer:"


WORDINGS: Mapping[str, Callable[[str, str], str]] = {
    "examples": with_examples,
    "plain": question,
    "examples_swapped": lambda cached, query: with_examples(query, cached),
}


@dataclass(frozen=True, slots=True)
class JudgeCase:
    """One pair; `trees` is P(the answer serves) by the trees, `served` whether they serve it."""

    id: str
    source: str
    cached: str
    query: str
    label: int
    cosine: float
    trees: float
    served: bool


def sample(data: Path, examiner: Examiner, count: int, seed: int) -> list[JudgeCase]:
    """About `count` cases of all sets, shuffled, so that a part of them is a sample, too."""
    draw = random.Random(seed)
    cases = []
    for source, share in SHARES.items():
        wanted = round(share * count / sum(SHARES.values()))
        found = _streamed if source in STREAMS else _paired
        cases += found(data, source, examiner, wanted, draw)
    draw.shuffle(cases)
    return cases


def _paired(
    data: Path, source: str, examiner: Examiner, wanted: int, draw: random.Random
) -> list[JudgeCase]:
    rows = load_pairs(data / f"{source}.jsonl.gz")[:MOST_ROWS]
    order = draw.sample(range(len(rows)), len(rows))
    cases: list[JudgeCase] = []
    for at in order:
        if len(cases) == wanted:
            break
        one = rows[at]
        if _gated(one.cached, one.query):
            continue
        choice, cosine = examiner.pair_choice(one.cached, one.query)
        if cosine >= LEAST_COSINE:
            cases.append(_case(f"{source}:{at}", source, one, cosine, choice, examiner))
    return cases


def _streamed(
    data: Path, source: str, examiner: Examiner, wanted: int, draw: random.Random
) -> list[JudgeCase]:
    requests = load_stream(data / f"{source}.stream.jsonl.gz")[:MOST_REQUESTS]
    rows = examiner.embedder.embed([one.text for one in requests])
    cases = list(_seen(source, requests, rows, examiner))
    return draw.sample(cases, min(wanted, len(cases)))


def _seen(
    source: str, requests: Sequence[Request], rows: NDArray[np.float32], examiner: Examiner
) -> Iterator[JudgeCase]:
    found: list[JudgeCase | None] = []

    def decide(text: str, near: Sequence[Candidate]) -> EntryChoice:
        choice = choose(text, near, examiner.verifier, examiner.settings)
        passing = [one for one in near if one.cosine >= LEAST_COSINE and not _gated(one.text, text)]
        if not passing:
            found.append(None)
            return choice
        one, answer = passing[0], requests[len(found)].answer
        label = int(one.answer == answer != OUT_OF_SCOPE)
        pair = Pair(one.text, text, label, "", "")
        name = f"{source}:{len(found)}"
        found.append(_case(name, source, pair, one.cosine, choice, examiner))
        return choice

    replay(requests, rows, decide)
    return (one for one in found if one is not None)


def _case(
    name: str, source: str, pair: Pair, cosine: float, choice: EntryChoice, examiner: Examiner
) -> JudgeCase:
    trees = examiner.verifier.pair(pair.cached, pair.query)
    served = choice.entry is not None
    return JudgeCase(
        name, source, pair.cached, pair.query, pair.label, round(cosine, 4), round(trees, 4), served
    )


def _gated(cached: str, query: str) -> bool:
    return bool(refusal(cached, query) or never(query) or never(cached))
