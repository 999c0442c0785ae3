"""PromQL read as far as a test needs it: which series an expression reads, and whether it can mean
anything.

Promises: raises `PromqlError` for what Prometheus would not parse, for a rate of no range or of no
counter, for a quantile without `le`, for sides that never match, and for a metric, a label or a
label's value that `known` has not got. Grammar: prometheus.io/docs/prometheus/latest/querying.
Not covered: `@`, negative offsets and native histograms.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![\w.]))
    |(?P<variable>\$\w+|\$\{\w+\})
    |(?P<number>(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)(?!\w))
    |(?P<name>[a-zA-Z_][\w:]*)
    |(?P<sign>=~|!~|==|!=|>=|<=|[-+*/%^<>=(){}\[\],:])
    )""",
    re.X,
)
_AGGREGATIONS = {
    "sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk",
    "quantile", "count_values",
}  # fmt: skip
_WITH_PARAMETER = {"topk", "bottomk", "quantile", "count_values"}
_OF_COUNTERS = {"rate", "irate", "increase", "resets"}
_OF_RANGES = _OF_COUNTERS | {
    "delta", "deriv", "idelta", "predict_linear", "changes", "avg_over_time", "min_over_time",
    "max_over_time", "sum_over_time", "count_over_time", "quantile_over_time", "last_over_time",
    "present_over_time", "absent_over_time", "stddev_over_time",
}  # fmt: skip
_OF_VECTORS = {
    "abs", "absent", "ceil", "floor", "round", "clamp", "clamp_min", "clamp_max", "exp", "ln",
    "log2", "log10", "sqrt", "sgn", "sort", "sort_desc", "timestamp", "histogram_quantile",
    "label_replace", "label_join", "scalar", "vector", "time",
}  # fmt: skip
_PRECEDENCE = [
    {"or"}, {"and", "unless"}, {"==", "!=", ">", "<", ">=", "<="}, {"+", "-"},
    {"*", "/", "%", "atan2"}, {"^"},
]  # fmt: skip


class PromqlError(Exception):
    """What is wrong with an expression, in words."""


@dataclass(frozen=True)
class Series:
    """What is exported under one name: its type and the labels that its samples have."""

    type: str
    labels: frozenset[str]
    values: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class Value:
    """What an expression gives: its labels, and of a range or a counter that it is one."""

    labels: frozenset[str] = frozenset()
    scalar: bool = False
    range: bool = False
    counter: bool = False


def check(text: str, known: Mapping[str, Series]) -> set[str]:
    """The names of the series that `text` reads; raises `PromqlError`."""
    return _read(text, known)[1]


def labels(text: str, known: Mapping[str, Series]) -> frozenset[str]:
    """The labels that the answer of `text` has; raises `PromqlError`."""
    return _read(text, known)[0].labels


def with_recorded(rules: Mapping[str, Any], known: Mapping[str, Series]) -> dict[str, Series]:
    """`known` and what a file of rules records, each group in its order; raises `PromqlError`."""
    found = dict(known)
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        if "record" in rule:
            own = labels(rule["expr"], found) | frozenset(rule.get("labels", ()))
            found[rule["record"]] = Series("gauge", own)
    return found


def _read(text: str, known: Mapping[str, Series]) -> tuple[Value, set[str]]:
    parser = _Parser(text, known)
    value = parser.expression(0)
    if not parser.at_end:
        raise PromqlError(f"{text}: {parser.peek!r} was not expected")
    if value.range:
        raise PromqlError(f"{text}: a range is no answer")
    return value, parser.read


class _Parser:
    """Recursive descent; every method leaves the position behind what it read."""

    def __init__(self, text: str, known: Mapping[str, Series]) -> None:
        self.text = text
        self.read: set[str] = set()
        self._known = known
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise PromqlError(f"{text}: not PromQL from {text[place:]!r}")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._tokens)

    @property
    def peek(self) -> str:
        return "" if self.at_end else self._tokens[self._at][1]

    @property
    def kind(self) -> str:
        return "" if self.at_end else self._tokens[self._at][0]

    def expression(self, level: int) -> Value:
        if level == len(_PRECEDENCE):
            return self._unary()
        left = self.expression(level + 1)
        while self.peek in _PRECEDENCE[level]:
            operator = self._take()
            if self.peek == "bool":
                self._take()
            matching = self._matching()
            right = self.expression(level + 1)
            left = self._joined(left, right, operator, matching)
        return left

    def _matching(self) -> tuple[str, frozenset[str], str, frozenset[str]]:
        how, labels, group, extra = "", frozenset[str](), "", frozenset[str]()
        if self.peek in ("on", "ignoring"):
            how, labels = self._take(), self._names()
        if self.peek in ("group_left", "group_right"):
            group = self._take()
            extra = self._names() if self.peek == "(" else extra
        return how, labels, group, extra

    def _joined(
        self, left: Value, right: Value, operator: str,
        matching: tuple[str, frozenset[str], str, frozenset[str]],
    ) -> Value:  # fmt: skip
        how, labels, group, extra = matching
        if left.range or right.range:
            raise PromqlError(f"{self.text}: {operator} of a range")
        if left.scalar or right.scalar:
            if how or group or operator in ("and", "or", "unless"):
                raise PromqlError(f"{self.text}: {operator} {how}{group} of a scalar")
            both = left.scalar and right.scalar
            return Value((left if right.scalar else right).labels, scalar=both)
        if how == "on" and (missing := labels - left.labels | labels - right.labels):
            raise PromqlError(f"{self.text}: on() of {sorted(missing)}, which one side has not got")
        if operator in ("and", "unless"):
            return replace(left, counter=False)
        if operator == "or":
            return Value(left.labels & right.labels)
        sides = [labels if how == "on" else side.labels - labels for side in (left, right)]
        if not group and sides[0] != sides[1]:
            told = f"{sorted(left.labels)} {operator} {sorted(right.labels)}"
            raise PromqlError(f"{self.text}: {told} never match one to one")
        if group == "group_left":
            return Value(left.labels | extra)
        if group == "group_right":
            return Value(right.labels | extra)
        return Value(sides[0])

    def _unary(self) -> Value:
        if self.peek in ("-", "+"):
            self._take()
            return self._unary()
        value = self._primary()
        while self.peek in ("[", "offset"):
            if self._take() == "offset":
                self._duration()
            else:
                self._duration()
                if self.peek == ":":  # a subquery
                    self._take()
                    if self.peek != "]":
                        self._duration()
                self._expect("]")
                value = replace(value, range=True)
        return value

    def _primary(self) -> Value:
        if self.kind in ("number", "duration") or self.peek in ("Inf", "NaN"):
            self._take()
            return Value(scalar=True)
        if self.kind == "string":
            self._take()
            return Value(scalar=True)
        if self.peek == "(":
            self._take()
            inner = self.expression(0)
            self._expect(")")
            return inner
        if self.kind != "name":
            raise PromqlError(f"{self.text}: {self.peek or 'the end'!r} was not expected")
        name = self._take()
        if name in _AGGREGATIONS and self.peek in ("(", "by", "without"):
            return self._aggregation(name)
        if self.peek == "(":
            return self._function(name)
        return self._selector(name)

    def _aggregation(self, name: str) -> Value:
        grouping = self._grouping()
        self._expect("(")
        if name in _WITH_PARAMETER:
            self.expression(0)
            self._expect(",")
        inner = self.expression(0)
        self._expect(")")
        grouping = grouping or self._grouping()
        if inner.range or inner.scalar:
            raise PromqlError(f"{self.text}: {name} of what is no vector")
        how, labels = grouping or ("by", frozenset[str]())
        if missing := labels - inner.labels:
            raise PromqlError(f"{self.text}: {how} {sorted(missing)}, which it has not got")
        if name in ("topk", "bottomk"):
            return Value(inner.labels)
        return Value(labels if how == "by" else inner.labels - labels)

    def _grouping(self) -> tuple[str, frozenset[str]] | None:
        if self.peek not in ("by", "without"):
            return None
        return self._take(), self._names()

    def _function(self, name: str) -> Value:
        if name not in _OF_RANGES | _OF_VECTORS:
            raise PromqlError(f"{self.text}: no function {name}")
        texts, given = self._arguments()
        if name in ("time", "vector"):
            return Value(scalar=name == "time")
        vectors = [one for one in given if not one.scalar]
        if len(vectors) != 1 or vectors[0].range is not (name in _OF_RANGES):
            raise PromqlError(f"{self.text}: {name} is of one {_wanted(name)}")
        (of,) = vectors
        if name in _OF_COUNTERS and not of.counter:
            raise PromqlError(f"{self.text}: {name} of what is no counter")
        if name == "histogram_quantile" and "le" not in of.labels:
            raise PromqlError(f"{self.text}: a quantile needs the label le")
        changed = {
            "histogram_quantile": Value(of.labels - {"le"}),
            "scalar": Value(scalar=True),
            "label_replace": Value(of.labels | set(texts[1:2])),
            "label_join": Value(of.labels | set(texts[1:2])),
            "absent": Value(),
            "absent_over_time": Value(),
        }
        return changed.get(name, Value(of.labels))

    def _arguments(self) -> tuple[list[str], list[Value]]:
        """The first token of each, and what each gives."""
        texts: list[str] = []
        given: list[Value] = []
        self._expect("(")
        while self.peek != ")":
            texts.append(self.peek.strip("\"'"))
            given.append(self.expression(0))
            if self.peek != ")":
                self._expect(",")
        self._expect(")")
        return texts, given

    def _selector(self, name: str) -> Value:
        series = self._known.get(name)
        if series is None:
            raise PromqlError(f"{self.text}: nothing exports {name}")
        self.read.add(name)
        if self.peek == "{":
            self._take()
            while self.peek != "}":
                self._matcher(name, series)
                if self.peek != "}":
                    self._expect(",")
            self._expect("}")
        return Value(series.labels, counter=series.type == "counter")

    def _matcher(self, name: str, series: Series) -> None:
        label, operator = self._take(), self._take()
        if operator not in ("=", "!=", "=~", "!~") or self.kind != "string":
            raise PromqlError(f"{self.text}: no matcher at {label!r}")
        wanted = self._take()[1:-1]
        if label not in series.labels:
            raise PromqlError(f"{self.text}: {name} has no label {label}")
        values = (series.values or {}).get(label)
        if values is None or "$" in wanted:
            return
        chosen = wanted.split("|") if "~" in operator else [wanted]
        for one in chosen:
            if not any(re.fullmatch(one, value) for value in values):
                raise PromqlError(f"{self.text}: {name} never has {label}={one!r}")

    def _names(self) -> frozenset[str]:
        self._expect("(")
        found = set()
        while self.peek != ")":
            found.add(self._take())
            if self.peek != ")":
                self._expect(",")
        self._expect(")")
        return frozenset(found)

    def _duration(self) -> None:
        if self.kind not in ("duration", "variable"):
            raise PromqlError(f"{self.text}: {self.peek!r} is no duration")
        self._take()

    def _take(self) -> str:
        if self.at_end:
            raise PromqlError(f"{self.text}: ends too early")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _expect(self, sign: str) -> None:
        if (found := self._take()) != sign:
            raise PromqlError(f"{self.text}: {found!r} stands where {sign!r} should")


def _wanted(name: str) -> str:
    return "range" if name in _OF_RANGES else "vector"
