"""Traces: arrival times and token counts of requests.

Promises: arrivals are sorted and start at 0; token counts are 1 at least. What is wrong in a file
is one `HansomError` that names the file and the row. Where a file has `HASH_IDS`, the ids of the
blocks of each prompt (`autoscale.replay.prefixes`), the trace knows which prompts begin alike; ids
that are of another form are left out, and `remark` says why. `scaled(k)` below 1 keeps each request
with probability k. Above 1 it lays copies of the trace over one another: the first as it is, each
further one with every request moved by U(-30, 30) s, and, for the fraction of k, one more that is
thinned. Shares and bursts longer than a minute so stay what they are; shorter ones are smoothed, as
those of independent callers are. Prompts of different copies have nothing in common.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoscale.replay.engine_state import Floats, Ints
from autoscale.replay.prefixes import PrefixError, Prefixes
from core.errors import HansomError
from core.files.table_file import read_table

COLUMNS = ("t_seconds", "input_tokens", "output_tokens")
HASH_IDS = "hash_ids"
JITTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Trace:
    """N requests in order of arrival, each array (N,); `at_s` counts from the trace's start.

    `prefixes` is None where nobody knows which prompts begin alike; `remark` is what whoever reads
    of it should know of its file.
    """

    name: str
    at_s: Floats
    input_tokens: Ints
    output_tokens: Ints
    prefixes: Prefixes | None = None
    remark: str = ""

    def __len__(self) -> int:
        return len(self.at_s)

    @property
    def span_s(self) -> float:
        """Seconds from the start to the last arrival."""
        return float(self.at_s[-1]) if len(self) else 0.0

    def window(self, start_s: float, end_s: float) -> "Trace":
        """The requests of [start_s, end_s), counted from start_s."""
        first, last = np.searchsorted(self.at_s, (start_s, end_s))
        rows = np.arange(first, last)
        return self._picked(self.at_s[first:last] - start_s, rows, np.zeros_like(rows))

    def scaled(self, k: float, seed: int) -> "Trace":
        """k times the requests in the same time; `HansomError` unless k is above 0."""
        if not 0 < k < float("inf"):
            raise HansomError(f"a trace can be scaled by a number above 0 only, not by {k:g}")
        if k == 1:
            return self
        rng = np.random.default_rng(seed)
        whole, fraction = int(k), k - int(k)
        rows = [np.arange(len(self))] * whole
        if fraction:
            rows.append(np.flatnonzero(rng.random(len(self)) < fraction))
        moved = [self.at_s[picked] for picked in rows]
        for n in range(1, len(moved)):
            jitter_s = rng.uniform(-JITTER_S, JITTER_S, len(moved[n]))
            moved[n] = np.clip(moved[n] + jitter_s, 0.0, self.span_s)
        picked, at_s = np.concatenate(rows), np.concatenate(moved)
        copies = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
        order = np.argsort(at_s, kind="stable")
        return self._picked(at_s[order], picked[order], copies[order])

    def _picked(self, at_s: Floats, rows: Ints, copies: Ints) -> "Trace":
        prefixes = None if self.prefixes is None else self.prefixes.take(rows, copies)
        tokens = self.input_tokens[rows], self.output_tokens[rows]
        return Trace(self.name, at_s, *tokens, prefixes, self.remark)


def read(path: Path) -> Trace:
    """A Parquet or CSV file with `COLUMNS`, and `HASH_IDS` if it has them; others are left alone.

    `HansomError` says what is wrong.
    """
    table = read_table(path, (*COLUMNS, HASH_IDS))
    names = table.column_names
    if missing := [name for name in COLUMNS if name not in names]:
        raise HansomError(
            f"{path} has no column {' and no '.join(missing)}: a trace needs "
            f"{', '.join(COLUMNS)} (it has {', '.join(read_table(path).column_names)})"
        )
    columns = [_numbers(path, name, table.column(name)) for name in COLUMNS]
    at_s, input_tokens, output_tokens = columns
    if not len(at_s):
        raise HansomError(f"{path} has no rows")
    if (back := np.flatnonzero(np.diff(at_s) < 0)).size:
        row = int(back[0]) + 1
        raise HansomError(
            f"{path}: row {row} came at {at_s[row]:g} s, before the row above it "
            f"({at_s[row - 1]:g} s); sort the trace by t_seconds"
        )
    inputs = np.maximum(input_tokens, 1).astype(np.int64)
    outputs = np.maximum(output_tokens, 1).astype(np.int64)
    prefixes, remark = None, ""
    if HASH_IDS in names:
        try:
            prefixes = _prefixes(table.column(HASH_IDS), inputs)
        except PrefixError as error:
            remark = f"{HASH_IDS} is left out, so nothing is taken to be cached: {error}"
    return Trace(Path(path).stem, at_s - at_s[0], inputs, outputs, prefixes, remark)


def from_rate(
    name: str, at_s: Floats, per_s: Floats, span_s: float, lengths: Trace, seed: int
) -> Trace:
    """Poisson arrivals of a rate given at points (M,), with lengths drawn from another trace.

    The rate is linear between points; input and output of a request come from the same row, and
    what its prompt shared does not.
    """
    rng = np.random.default_rng(seed)
    seconds = np.arange(int(span_s))
    counts = rng.poisson(np.interp(seconds + 0.5, at_s, per_s))
    arrivals = np.sort(np.repeat(seconds, counts) + rng.random(counts.sum()))
    rows = rng.integers(0, len(lengths), len(arrivals))
    return Trace(name, arrivals, lengths.input_tokens[rows], lengths.output_tokens[rows])


def _numbers(path: Path, name: str, column: pa.ChunkedArray) -> Floats:
    """One column as floats; none missing, infinite or negative."""
    try:
        values: Floats = np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException as error:
        raise HansomError(f"{path}: {name} is not made of numbers ({column.type})") from error
    bad = np.flatnonzero(~np.isfinite(values) | (values < 0))
    if bad.size:
        row = int(bad[0])
        raise HansomError(f"{path}: {name} of row {row} is {values[row]:g}; it must be 0 or more")
    return values


def _prefixes(column: pa.ChunkedArray, input_tokens: Ints) -> Prefixes:
    """Lists of ids, one for each prompt (N,); `PrefixError` for what is none."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not (
        pa.types.is_integer(kind.value_type)
    ):
        raise PrefixError(f"it is not made of lists of whole numbers ({kind})")
    counts = pc.list_value_length(column).to_numpy()
    ids = pc.list_flatten(column)
    if np.isnan(counts.astype(np.float64)).any() or ids.null_count:
        raise PrefixError("rows or ids are missing")
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return Prefixes.of(ids.to_numpy().astype(np.int64), starts, input_tokens)
