"""What a PromQL expression comes to over counters that rise evenly, parsed by `promql-parser`.

Promises: Prometheus's rules of matching, filtering and summing for the parts that our alert rules
use; anything else raises `NotImplementedError`. `rate` and `increase` are exact here, where
Prometheus extrapolates from scrapes.
Not covered: whether names and labels exist, which is `tests.promql`'s.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from promql_parser import AggModifierType, LabelModifierType, parse

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]

_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan if not a or math.isnan(a) else math.inf,
}
_FILTERS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@dataclass(frozen=True)
class Rising:
    """A counter that rose by `before` a second for ever, and by `now` in the last `turn_s`."""

    labels: Mapping[str, str]
    before: float
    now: float
    turn_s: float = 3600.0

    def rise(self, from_s: float, to_s: float) -> float:
        """How much it rose between two moments, seconds before now."""
        late = max(0.0, min(from_s, self.turn_s) - min(to_s, self.turn_s))
        return late * self.now + (from_s - to_s - late) * self.before


class World:
    """Counters by series name, and what rules recorded."""

    def __init__(self, counters: Mapping[str, list[Rising]]) -> None:
        self._counters = counters
        self._recorded: dict[str, Vector] = {}

    def record(self, name: str, text: str) -> None:
        """Keep what an expression comes to under a name."""
        self._recorded[name] = self.ask(text)

    def ask(self, text: str) -> Vector:
        """What an expression comes to, now."""
        found = self._of(parse(text))
        assert isinstance(found, dict), "a scalar is no answer of a rule"
        return found

    def _of(self, node: Any) -> Vector | float:
        kind = type(node).__name__
        of: dict[str, Callable[[Any], Vector | float]] = {
            "NumberLiteral": lambda one: one.val,
            "ParenExpr": lambda one: self._of(one.expr),
            "VectorSelector": lambda one: dict(self._recorded[one.name]),
            "AggregateExpr": self._sum,
            "Call": self._call,
            "BinaryExpr": self._binary,
        }
        if kind not in of:
            raise NotImplementedError(kind)
        return of[kind](node)

    def _vector(self, node: Any) -> Vector:
        found = self._of(node)
        assert isinstance(found, dict)
        return found

    def _sum(self, node: Any) -> Vector:
        if str(node.op) != "sum":
            raise NotImplementedError(node.op)
        names: set[str] = set()
        if node.modifier is not None:
            assert node.modifier.type == AggModifierType.By
            names = set(node.modifier.labels)
        sums: dict[Labels, float] = defaultdict(float)
        for labels, value in self._vector(node.expr).items():
            sums[frozenset(one for one in labels if one[0] in names)] += value
        return dict(sums)

    def _call(self, node: Any) -> Vector:
        name, args = node.func.name, node.args
        if name in ("rate", "increase"):
            return self._rises(args[0], per_s=name == "rate")
        if name == "vector":
            return {frozenset(): float(args[0].val)}
        if name == "log2":
            return {labels: math.log2(value) for labels, value in self._vector(args[0]).items()}
        if name == "histogram_quantile":
            return _quantile(args[0].val, self._vector(args[1]))
        raise NotImplementedError(name)

    def _rises(self, node: Any, *, per_s: bool) -> Vector:
        selector, range_s = node.vector_selector, node.range.total_seconds()
        to_s = selector.offset.total_seconds() if selector.offset else 0.0
        return {
            frozenset(one.labels.items()): one.rise(to_s + range_s, to_s)
            / (range_s if per_s else 1.0)
            for one in self._counters.get(selector.name, [])
            if all(_matches(one.labels, matcher) for matcher in selector.matchers.matchers)
        }

    def _binary(self, node: Any) -> Vector | float:
        op, left, right = str(node.op), self._of(node.lhs), self._of(node.rhs)
        if isinstance(left, dict) and isinstance(right, dict):
            return _joined(op, left, right, node.modifier)
        if isinstance(left, float) and isinstance(right, float):
            return _ARITHMETIC[op](left, right)
        if isinstance(left, dict):
            assert isinstance(right, float)
            return _each(op, {labels: (value, right) for labels, value in left.items()})
        assert isinstance(right, dict) and op in _ARITHMETIC
        return _each(op, {labels: (left, value) for labels, value in right.items()})


def _matches(labels: Mapping[str, str], matcher: Any) -> bool:
    found, how = labels.get(matcher.name, ""), str(matcher.op).removeprefix("MatchOp.")
    same = found == matcher.value if "Equal" in how else re.fullmatch(matcher.value, found)
    return bool(same) is not how.startswith("Not")


def _joined(op: str, left: Vector, right: Vector, modifier: Any) -> Vector:
    ignored: set[str] = set()
    if modifier is not None and modifier.matching is not None:
        assert modifier.matching.type == LabelModifierType.Exclude
        ignored = set(modifier.matching.labels)

    def key(labels: Labels) -> Labels:
        return frozenset(one for one in labels if one[0] not in ignored)

    others = {key(labels): value for labels, value in right.items()}
    if op == "and":
        return {labels: value for labels, value in left.items() if key(labels) in others}
    if op == "or":
        mine = {key(labels) for labels in left}
        return left | {labels: value for labels, value in right.items() if key(labels) not in mine}
    pairs = {
        labels: (value, others[key(labels)])
        for labels, value in left.items()
        if key(labels) in others
    }
    return _each(op, pairs)


def _each(op: str, pairs: Mapping[Labels, tuple[float, float]]) -> Vector:
    if op in _FILTERS:
        return {labels: one for labels, (one, other) in pairs.items() if _FILTERS[op](one, other)}
    return {labels: _ARITHMETIC[op](*pair) for labels, pair in pairs.items()}


def _quantile(share: float, buckets: Vector) -> Vector:
    """Linear within the bucket that holds the rank, as Prometheus does."""
    groups: dict[Labels, dict[float, float]] = defaultdict(dict)
    for labels, count in buckets.items():
        bound = float(dict(labels)["le"])
        groups[frozenset(one for one in labels if one[0] != "le")][bound] = count
    found = {}
    for labels, group in groups.items():
        rank, low, below = share * group[math.inf], 0.0, 0.0
        for bound, count in sorted(group.items()):
            if count >= rank:
                inside = (rank - below) / (count - below) if count > below else 1.0
                found[labels] = low if bound == math.inf else low + (bound - low) * inside
                break
            low, below = bound, count
    return found
