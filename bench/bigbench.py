"""A public mix of tasks with known answers: examples of BIG-bench, from its own archive.

Promises: the same archive and seed give the same prompts; grading is by rule, so that no model
judges another. Fetch the archive once: `pip download --no-deps --no-binary :all: bigbench==1.0.0`.
Source: Srivastava et al., "Beyond the Imitation Game" (arXiv 2206.04615), Apache-2.0. Nothing of it
is kept here, and the router was trained on none of it.
"""

import json
import random
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Chosen by name before any answer was seen: knowledge, counting, arithmetic, language, logic, code.
TASKS = (
    "general_knowledge", "arithmetic", "qa_wikidata", "object_counting", "date_understanding",
    "sports_understanding", "navigate", "unit_conversion", "english_proverbs", "physics",
    "physical_intuition", "emoji_movie", "strategyqa", "logical_deduction", "penguins_in_a_table",
    "reasoning_about_colored_objects", "cause_and_effect", "odd_one_out", "periodic_elements",
    "movie_recommendation", "implicatures", "riddle_sense", "elementary_math_qa", "cs_algorithms",
    "code_line_description", "auto_debugging", "similarities_abstraction", "temporal_sequences",
)  # fmt: skip
_PATH = re.compile(r"benchmark_tasks/(\w+)/(?:[\w-]+/)?task\.json$")
_MAX_PROMPT_CHARS = 1500


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt and its right answers; with `options` an answer must name one of them first."""

    name: str
    prompt: str
    targets: tuple[str, ...]
    options: tuple[str, ...] = ()

    def right(self, answer: str) -> bool:
        """Whether an answer is right: it names a target, and of the options no other before it."""
        said = _plain(answer)
        if not self.options:
            return any(_at(said, target) >= 0 for target in self.targets)
        # Of options that begin at one place the longest is meant.
        named = [(at, -len(one), one) for one in self.options if (at := _at(said, one)) >= 0]
        return bool(named) and min(named)[2] in self.targets


def read(archive: Path, each: int, seed: int = 0) -> list[Task]:
    """At most `each` examples of every task, in a fixed order; raises `OSError`."""
    found: dict[str, list[Task]] = {name: [] for name in TASKS}
    with tarfile.open(archive) as files:
        for member in files:
            matched = _PATH.search(member.name)
            if matched is None or matched[1] not in found:
                continue
            content = files.extractfile(member)
            assert content is not None
            found[matched[1]] += _tasks(matched[1], json.load(content))
    chosen: list[Task] = []
    for name, tasks in found.items():
        draw = random.Random(f"{seed}:{name}")
        chosen += draw.sample(sorted(tasks, key=lambda task: task.prompt), min(each, len(tasks)))
    return chosen


def _tasks(name: str, told: dict[str, Any]) -> list[Task]:
    tasks = [_task(name, told, example) for example in told.get("examples", ())]
    return [task for task in tasks if task is not None]


def _task(name: str, told: dict[str, Any], example: dict[str, Any]) -> Task | None:
    question = f"{told.get('task_prefix', '')}{example['input']}".strip()
    if len(question) > _MAX_PROMPT_CHARS:
        return None
    if scores := example.get("target_scores"):
        best = max(scores.values())
        options = tuple(sorted(scores))
        targets = tuple(option for option in options if scores[option] == best)
        listed = "\n".join(f"- {option}" for option in options)
        prompt = f"{question}\n\nAnswer with one of these, and nothing else:\n{listed}"
        return Task(name, prompt, targets, options)
    target = example.get("target")
    targets = tuple(target) if isinstance(target, list) else (str(target),)
    targets = tuple(one for one in targets if one.strip())
    return Task(name, f"{question}\n\nAnswer briefly.", targets) if targets else None


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.casefold().replace(",", "")).strip()


def _at(said: str, target: str) -> int:
    """Where a target stands as whole words, -1 if nowhere."""
    found = re.search(rf"(?<!\w){re.escape(_plain(target))}(?!\w)", said)
    return found.start() if found else -1
