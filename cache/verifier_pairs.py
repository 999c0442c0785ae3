"""Pairs of requests made from `verifier_pairs.toml`: rewordings, and near misses.

Promises: the same pairs every time; a pair's group is its topic, so that a topic is never on both
sides of a split. Not covered: what no template says; the published sets are there for that.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from cache.dataset import Pair

_FILE = Path(__file__).with_name("verifier_pairs.toml")
# Of each kind of pair in a topic; the topics are of very different sizes.
KEPT = 60


def made_pairs(kept: int = KEPT) -> list[Pair]:
    """At most `kept` rewordings, as many with another x, and as many other questions a topic."""
    found: list[Pair] = []
    for number, topic in enumerate(tomllib.loads(_FILE.read_text(encoding="utf-8"))["topic"]):
        group = f"own-{number}"
        for label, pairs in (
            (1, _reworded(topic["x"], topic["asks"])),
            (0, _other_x(topic["x"], topic["asks"])),
            (0, _other_ask(topic["x"], topic["asks"])),
        ):
            found.extend(Pair(a, b, label, "own", group) for a, b in _some(pairs, kept))
    return found


def _reworded(names: list[str], asks: list[list[str]]) -> Iterator[tuple[str, str]]:
    for name in names:
        for ask in asks:
            for one, other in combinations(ask, 2):
                yield one.replace("{x}", name), other.replace("{x}", name)


def _other_x(names: list[str], asks: list[list[str]]) -> Iterator[tuple[str, str]]:
    for name, another in combinations(names, 2):
        for ask in asks:
            for one in ask:
                for other in ask:
                    yield one.replace("{x}", name), other.replace("{x}", another)


def _other_ask(names: list[str], asks: list[list[str]]) -> Iterator[tuple[str, str]]:
    for name in names:
        for ask, another in combinations(asks, 2):
            for one in ask:
                for other in another:
                    yield one.replace("{x}", name), other.replace("{x}", name)


def _some(pairs: Iterator[tuple[str, str]], kept: int) -> list[tuple[str, str]]:
    """The `kept` pairs whose hashes come first: spread evenly, and the same every time."""
    return sorted(set(pairs), key=lambda pair: hashlib.sha256("\n".join(pair).encode()).digest())[
        :kept
    ]
