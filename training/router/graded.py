"""Read graded answers with log-probabilities, as `bench.answers` writes them.

Promises: rows in the file's order, with everything that a fit of doubts reads.
Not covered: answers that a limit of tokens broke off. They are left out: they are wrong for a
reason that is not in their tokens.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.files import text_file
from learning.measures import Floats
from router.judge import uncertainty
from router.judge.answer import doubt as text_doubt
from router.judge.cascade import agree

_SAME = {None: 0.0, True: 1.0, False: -1.0}


@dataclass(frozen=True, slots=True)
class GradedRows:
    """n graded answers, (n,) each. `text` is its doubt in logits; `agrees` is 1, -1, or 0 if not
    known; `kind` is that of the question with its form.
    """

    logprobs: tuple[tuple[float, ...], ...]
    text: Floats
    agrees: Floats
    wrong: Floats
    kind: NDArray[np.str_]
    tier: NDArray[np.str_]

    def at(self, chosen: NDArray[np.bool_]) -> GradedRows:
        """These rows only."""
        kept = tuple(each for each, take in zip(self.logprobs, chosen, strict=True) if take)
        numbers = (self.text[chosen], self.agrees[chosen], self.wrong[chosen])
        return GradedRows(kept, *numbers, self.kind[chosen], self.tier[chosen])

    def weight(self, chosen: NDArray[np.bool_]) -> Floats:
        """(m,) weights that sum to one, under which every model is right as often as wrong."""
        tier, wrong = self.tier[chosen], self.wrong[chosen]
        weight = np.zeros(len(wrong))
        for name in np.unique(tier):
            for outcome in (0.0, 1.0):
                these = (tier == name) & (wrong == outcome)
                weight[these] = 1.0 / max(these.sum(), 1)
        return np.asarray(weight / weight.sum())

    def features(self, tokens: int | None = None) -> Floats:
        """(n, Q) of `uncertainty.features`, of the first tokens if so many are given."""
        return np.array(
            [uncertainty.features(each[:tokens]) for each in self.logprobs], dtype=float
        )


def read(path: Path) -> GradedRows:
    """Whole answers as `bench.answers` writes them. Raises `HansomError` for a file that cannot be
    read, and `ValueError` or `KeyError` for a line that is none.
    """
    told = [json.loads(line) for _, line in text_file.lines(text_file.read(path))]
    told = [each for each in told if each["logprobs"] and each["finish"] == "stop"]
    return GradedRows(
        tuple(tuple(each["logprobs"]) for each in told),
        np.array([logit(text_doubt(each["prompt"], each["answer"])) for each in told]),
        np.array([_agrees(each) for each in told]),
        np.array([float(not each["right"]) for each in told]),
        np.array([f"{each['kind']} {each['form']}" for each in told]),
        np.array([each["tier"] for each in told]),
    )


def _agrees(told: dict[str, Any]) -> float:
    second = told.get("second")
    return 0.0 if second is None else _SAME[agree(told["answer"], second)]


def logit(probability: float) -> float:
    """Log-odds, finite for any probability."""
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))
