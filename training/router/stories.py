"""Expand graded word problems of our own from `stories.toml`.

Promises: the same file and seed give the same problems; the label falls with the number of steps.
Not covered: truth. The labels are what we expect by construction, no model was asked, and the
steps of one problem need not make sense together.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("stories.toml")
PER_STORY = 30
MOST_STEPS = 6
# Inclusive, for the slots of the templates.
_NUMBERS = {"n": (6, 90), "m": (4, 40), "k": (2, 9), "d": (2, 6)}
_PERCENTAGES = (10, 20, 25, 30, 40, 60)
_TENS = (12, 60)


@dataclass(frozen=True, slots=True)
class WordProblem:
    """One problem of `steps` steps; p_small and p_large in [0, 1] are its label."""

    text: str
    family: str
    steps: int
    p_small: float
    p_large: float


def word_problems(*, seed: int = 0, path: Path = FILE) -> tuple[WordProblem, ...]:
    """`PER_STORY` problems of each story."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    (small, small_loss), (large, large_loss) = data["right"]["small"], data["right"]["large"]
    problems: list[WordProblem] = []
    for story in data["story"]:
        # Seeded by name, so that adding a story leaves the others as they were.
        chance = random.Random(f"{seed}:{story['name']}")
        for _ in range(PER_STORY):
            steps = chance.randint(0, min(MOST_STEPS, len(story["steps"])))
            text = _told(story, steps, data["names"], chance)
            labels = small - small_loss * steps, large - large_loss * steps
            problems.append(WordProblem(text, story["name"], steps, *labels))
    return tuple(problems)


def _told(
    story: Mapping[str, list[str]], steps: int, names: list[str], chance: random.Random
) -> str:
    parts = [
        chance.choice(story["open"]),
        *chance.sample(story["steps"], steps),
        chance.choice(story["ask"]),
    ]
    first, second = chance.sample(names, 2)
    numbers = {slot: chance.randint(*limits) for slot, limits in _NUMBERS.items()}
    percent, tens = chance.choice(_PERCENTAGES), 10 * chance.randint(*_TENS)
    return " ".join(parts).format(a=first, b=second, p=percent, q=tens, **numbers)
