"""Make pairs of requests from `verifier_pairs.toml`: rewordings, respellings, near misses.

Promises: the same pairs every time; a pair's group is its topic, so that a topic is never on both
sides of a split. Not covered: what no template says; the published sets are there for that.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from cache.tuning.dataset import Pair

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


def respelled_pairs(kept: int = KEPT) -> list[Pair]:
    """At most `kept` pairs a topic of one wording, spelled or begun otherwise; all may share."""
    return [
        Pair(a, b, 1, "respelled", f"own-{number}")
        for number, topic in enumerate(tomllib.loads(_FILE.read_text(encoding="utf-8"))["topic"])
        for a, b in _some(_respelled(topic["x"], topic["asks"]), kept)
    ]


def _reworded(names: list[str], asks: list[list[str]]) -> Iterator[tuple[str, str]]:
    for name in names:
        for ask in asks:
            for one, other in combinations(ask, 2):
                yield one.replace("{x}", name), other.replace("{x}", name)


# Ways to write one beginning; the others are as good.
_BEGINNINGS = (
    ("How can I ", "How do I ", "How should I ", "How to "),
    ("What is ", "What's "),
    ("What are ", "Tell me what are "),
)


def _respelled(names: list[str], asks: list[list[str]]) -> Iterator[tuple[str, str]]:
    """One wording without its mark or its capital, and with another beginning."""
    for name in names:
        for ask in asks:
            one = ask[0].replace("{x}", name)
            yield one, one.rstrip("?.")
            yield one, one[:1].lower() + one[1:]
            for said in _BEGINNINGS:
                first = next((start for start in said if one.startswith(start)), None)
                if first is not None:
                    rest = one.removeprefix(first)
                    yield from ((one, f"{other}{rest}") for other in said if other != first)


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
