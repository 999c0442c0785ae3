"""Answers of the served models to questions with known answers, with their log-probabilities.

    hansom serve &
    python -m bench.answers --kept ../shared/data/router/dev
    python -m training.router.fit_uncertainty bench/out/answers.jsonl

Promises: one JSON line an answer, with `tier`, `kind`, `form`, `prompt`, `answer`, `logprobs`
(natural, of its tokens in order), `right`, `finish`, and for some `second`, another answer at
temperature 0.8. Temperature 0 else, the cache kept out. Tier after tier, in a shuffled
order; lines are added as answers come, and what the file holds is not asked again, so that a run
may be broken off and goes on. Without `--kept`, only
questions that code makes (`bench/questions.py`) are asked.
Not covered: waiting times; several questions are asked at once.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import httpx

from bench.grading import BRIEF, SHORT, WORKED, Question, right
from bench.questions import kept, made

MAX_TOKENS = {SHORT: 24, BRIEF: 160, WORKED: 160}
OUT = Path(__file__).parent / "out" / "answers.jsonl"


def line(question: Question, tier: str, said: dict[str, Any], second: str | None) -> dict[str, Any]:
    """What is written of an answer, graded; `said` is a choice of a chat completion."""
    text = said["message"]["content"] or ""
    tokens = (said.get("logprobs") or {}).get("content") or []
    return {
        **{"tier": tier, "kind": question.kind, "form": question.form},
        **{"prompt": question.prompt, "gold": question.gold, "answer": text},
        "logprobs": [round(one["logprob"], 5) for one in tokens],
        **{"finish": said["finish_reason"], "right": right(question, text), "second": second},
    }


async def asked(
    client: httpx.AsyncClient, tier: str, question: Question, temperature: float
) -> dict[str, Any]:
    """The choice that a tier gives."""
    body = {
        **{"model": tier, "messages": [{"role": "user", "content": question.prompt}]},
        **{"max_tokens": MAX_TOKENS[question.form], "temperature": temperature, "logprobs": True},
    }
    got = (await client.post("/v1/chat/completions", json=body)).raise_for_status()
    choice: dict[str, Any] = got.json()["choices"][0]
    return choice


async def collect(
    url: str, tier: str, questions: Sequence[Question], at_once: int, twice: float, out: TextIO
) -> None:
    """Every question to a tier, and a share `twice` of them a second time."""
    async with httpx.AsyncClient(
        base_url=url, timeout=600, headers={"x-hansom-cache": "off"}
    ) as client:
        places = asyncio.Semaphore(at_once)

        async def one(question: Question) -> None:
            async with places:
                said, second = await asked(client, tier, question, 0.0), None
                if random.Random(question.prompt).random() < twice:
                    again = await asked(client, tier, question, 0.8)
                    second = again["message"]["content"] or ""
            out.write(json.dumps(line(question, tier, said, second)) + "\n")
            out.flush()

        await asyncio.gather(*map(one, questions))


def main() -> None:
    """Ask what is not answered yet, grade, and add to the file."""
    parser = argparse.ArgumentParser(prog="python -m bench.answers", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--tiers", nargs="+", default=("small", "large"))
    parser.add_argument("--each", type=int, default=36, help="questions a kind")
    parser.add_argument("--kept", type=Path, help="folder of the training data")
    parser.add_argument("--twice", type=float, default=0.4, help="share with a second answer")
    parser.add_argument("--at-once", type=int, default=16, help="questions in flight")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    questions = made(given.each, given.seed)
    if given.kept:
        questions += kept(given.kept, given.each, given.seed)
    random.Random(given.seed).shuffle(questions)
    worked = sum(each.form == WORKED for each in questions)
    print(f"{len(questions)} questions, {worked} of them to be worked out")
    given.out.parent.mkdir(exist_ok=True)
    with given.out.open("a+", encoding="utf-8") as out:
        out.seek(0)
        known = {(told["tier"], told["prompt"]) for told in map(json.loads, out)}
        for tier in given.tiers:
            left = [each for each in questions if (tier, each.prompt) not in known]
            asyncio.run(collect(given.url, tier, left, given.at_once, given.twice, out))


if __name__ == "__main__":
    main()
