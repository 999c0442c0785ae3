"""Read the labelled files of the semantic cache: pairs, streams and context probes.

Promises: gzip or plain JSON lines; a file that is none of the three, or a line that lacks a field,
is named with its line. Not covered: what the labels are worth, which the data's README tells.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import HansomError
from core.files import text_file
from core.files.problem import unreadable

OUT_OF_SCOPE = "oos"
HIT, MISS = "hit", "miss"


class WrongFile(HansomError):
    """A file cannot be read as pairs, as a stream or as context probes; says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two prompts, and whether the answer to one serves the other (1) or not (0)."""

    cached: str
    query: str
    label: int
    family: str
    group: str


@dataclass(frozen=True, slots=True)
class Request:
    """One of a stream. Requests share a reply if `answer` is equal, and never if it is `oos`."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A cached request and a query, with their tenants; whether it should hit."""

    tenants: tuple[str, str]
    bodies: tuple[Mapping[str, object], Mapping[str, object]]
    hit: bool
    family: str


Row = Pair | Request | Probe


def load(path: Path) -> list[Row]:
    """The rows of a file, all of one kind. Raises `WrongFile`."""
    rows = _objects(path)
    if not rows:
        raise WrongFile(f"{path} has no lines.")
    first = rows[0]
    for fields, read in _KINDS:
        if all(name in first for name in fields):
            return [_read(path, number, row, read) for number, row in enumerate(rows, 1)]
    raise WrongFile(
        f"{path} holds {{{', '.join(sorted(first))}}}; wanted pairs {{a, b, label}}, a stream "
        "{text, answer} or context probes {cached, query, expect}."
    )


def load_pairs(path: Path) -> list[Pair]:
    """Like `load`, for a file of pairs only."""
    return [row for row in load(path) if isinstance(row, Pair)]


def load_stream(path: Path) -> list[Request]:
    """Like `load`, for a stream only."""
    return [row for row in load(path) if isinstance(row, Request)]


def _objects(path: Path) -> list[dict[str, object]]:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise WrongFile(f"{path} cannot be read: {error}") from error
    except OSError as error:
        raise unreadable(path, error) from error
    text = text_file.decode(raw, path)
    rows = []
    for number, line in text_file.lines(text):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise WrongFile(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise WrongFile(f"{path}, line {number}: not an object.")
        rows.append(row)
    return rows


def _read(
    path: Path, number: int, row: dict[str, object], read: Callable[[Mapping[str, object]], Row]
) -> Row:
    try:
        return read(row)
    except (KeyError, TypeError, ValueError) as error:
        raise WrongFile(f"{path}, row {number}: `{error.args[0]}` is missing or wrong.") from error


def _text(row: Mapping[str, object], name: str) -> str:
    if not isinstance(row[name], str):
        raise TypeError(name)
    return str(row[name])


def _pair(row: Mapping[str, object]) -> Pair:
    if row["label"] not in (0, 1):
        raise ValueError("label")
    label = 1 if row["label"] else 0
    family = str(row.get("family", ""))
    return Pair(_text(row, "a"), _text(row, "b"), label, family, str(row.get("group", row["a"])))


def _request(row: Mapping[str, object]) -> Request:
    return Request(_text(row, "text"), _text(row, "answer"))


def _probe(row: Mapping[str, object]) -> Probe:
    sides = row["cached"], row["query"]
    if row["expect"] not in (HIT, MISS):
        raise ValueError("expect")
    tenants, bodies = [], []
    for side in sides:
        if not isinstance(side, dict) or not isinstance(side["request"], dict):
            raise TypeError("request")
        tenants.append(str(side.get("tenant", "")))
        bodies.append(side["request"])
    return Probe(
        (tenants[0], tenants[1]),
        (bodies[0], bodies[1]),
        row["expect"] == HIT,
        str(row.get("family", "")),
    )


_KINDS: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, object]], Row]], ...] = (
    (("a", "b", "label"), _pair),
    (("text", "answer"), _request),
    (("cached", "query", "expect"), _probe),
)
