"""One vLLM engine that answers `bench.semantic_judge`'s questions, in a process of its own.

    python -m bench.semantic_judge_engine MODEL_FOLDER WORK_FOLDER

Promises:
- Reads `cases.jsonl` of the work folder and appends one line for each answer to `answers.jsonl`.
- Questions that have an answer there are not asked again, so a run can be cut and gone on with.
Not covered: choosing the cases and reading the answers (`bench.semantic_judge`).
"""

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

from bench.semantic_judge_rows import ANSWERS_FILE, CASES_FILE, WORDINGS

BATCH = 16
_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "2",
    "TORCHDYNAMO_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def load(folder: Path) -> Any:
    """The engine as the laptop's large tier runs it, with blocks that hold a short prefix."""
    os.environ |= _ENVIRONMENT
    from vllm import LLM

    return LLM(
        model=str(folder), dtype="bfloat16", enforce_eager=True, max_num_seqs=BATCH,
        max_model_len=2048, block_size=32, enable_prefix_caching=True, disable_log_stats=True,
    )  # fmt: skip


def ask(engine: Any, questions: list[str]) -> list[float | None]:
    """P(yes) of each question; None where the model says neither word."""
    from vllm import SamplingParams

    chats = [[{"role": "user", "content": one}] for one in questions]
    sampling = SamplingParams(temperature=0, max_tokens=1, logprobs=10)
    outputs = engine.chat(chats, sampling, use_tqdm=False)
    return [_yes(output.outputs[0].logprobs[0].values()) for output in outputs]


def _yes(alternatives: Any) -> float | None:
    said = {"yes": 0.0, "no": 0.0}
    for one in alternatives:
        word = str(one.decoded_token).strip().lower()
        if word in said:
            said[word] += math.exp(one.logprob)
    both = sum(said.values())
    return said["yes"] / both if both else None


def main() -> None:
    """Ask what has no answer yet, a batch of cases at a time in every wording and order."""
    parser = argparse.ArgumentParser(prog="python -m bench.semantic_judge_engine")
    parser.add_argument("model", type=Path)
    parser.add_argument("work", type=Path)
    given = parser.parse_args()
    cases = [json.loads(line) for line in (given.work / CASES_FILE).open(encoding="utf-8")]
    answers = given.work / ANSWERS_FILE
    done = {(one["id"], one["wording"]) for one in map(json.loads, _lines(answers))}
    engine = load(given.model)
    with answers.open("a", encoding="utf-8", buffering=1) as out:
        for start in range(0, len(cases), BATCH):
            for wording, worded in WORDINGS.items():
                wanted = [
                    one for one in cases[start : start + BATCH] if (one["id"], wording) not in done
                ]
                said = ask(engine, [worded(one["cached"], one["query"]) for one in wanted])
                for one, yes in zip(wanted, said, strict=True):
                    out.write(json.dumps({"id": one["id"], "wording": wording, "yes": yes}) + "\n")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
