"""Expand our own prompts from the families of `prompts.toml`.

Promises: the same file and seed give the same prompts; a family marked as held out never comes out
of `own_prompts(held_out=False)`.
Not covered: truth. The labels are what we expect by construction; no model was asked.
"""

from __future__ import annotations

import itertools
import random
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("prompts.toml")
PER_FAMILY = 30
NUMBERS = ("n", "m", "k")
_SLOT = re.compile(r"\{([a-z])\}")


@dataclass(frozen=True, slots=True)
class OwnPrompt:
    """One prompt with the label of its family."""

    text: str
    family: str
    label: str
    p_small: float
    p_large: float


def own_prompts(*, held_out: bool, seed: int = 0, path: Path = FILE) -> tuple[OwnPrompt, ...]:
    """Up to `PER_FAMILY` prompts of each family on the wanted side of the split."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    prompts: list[OwnPrompt] = []
    for family in data["family"]:
        if family.get("held_out", False) is not held_out:
            continue
        p_small, p_large = data["labels"][family["label"]]
        # Seeded by name, so that adding a family leaves the prompts of the others as they were.
        chance = random.Random(f"{seed}:{family['name']}")
        prompts.extend(
            OwnPrompt(text, family["name"], family["label"], p_small, p_large)
            for text in _texts(family, chance)
        )
    return tuple(prompts)


def _texts(family: Mapping[str, object], chance: random.Random) -> list[str]:
    """Distinct texts of one family: its combinations shuffled, cut, then filled."""
    combinations = list(_combinations(family))
    chance.shuffle(combinations)
    texts: dict[str, None] = {}
    for template, values in combinations[:PER_FAMILY]:
        numbers = {name: str(chance.randint(2, 60)) for name in NUMBERS}
        # Twice, because a value may itself hold a number slot.
        once = _fill(template, {**numbers, **values})
        texts[_fill(once, numbers)] = None
    return list(texts)


def _combinations(family: Mapping[str, object]) -> Iterator[tuple[str, dict[str, str]]]:
    for template in _strings(family, "templates"):
        slots = sorted({slot for slot in _SLOT.findall(template) if slot not in NUMBERS})
        # A template of numbers only is drawn several times with other numbers.
        repeats = 1 if slots else PER_FAMILY // 3
        for values in itertools.product(*(_strings(family, slot) for slot in slots)):
            yield from itertools.repeat((template, dict(zip(slots, values, strict=True))), repeats)


def _strings(family: Mapping[str, object], key: str) -> list[str]:
    values = family[key]
    if not isinstance(values, list):
        raise TypeError(f"family {family['name']}: {key} is not a list")
    return [str(value) for value in values]


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _SLOT.sub(lambda slot: values.get(slot[1], slot[0]), template)
