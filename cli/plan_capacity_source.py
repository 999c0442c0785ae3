"""Where `hansom plan capacity` has its load from: a trace, or what the ledger saw.

Promised: a tier of the ledger gets the attempts that its engines made, retries and escalations
with them; a trace is the same for every tier. Prompt tokens from a prefix cache count as others do,
since the replay knows no prefix cache: the plan is never too small for that.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autoscale.replay.trace import Trace, read
from cli import usage
from cli.cost_inputs import GIVEN, Input
from cli.ledger import open_store
from cli.plan_capacity_asked import PlanCapacityOptions
from cli.usage import UsageError
from core.errors import HansomError
from core.settings.load import load
from ledger.cost.usage_query import metered, observe
from ledger.reports.span import moment, parse

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Source:
    """What came, by tier; `shares` and `hit_rate` are those that are in it already.

    `spans_s` is how long each tier's lasted, from its first request; a trace's ends with its last.
    A trace is of no tier yet: `traces` is empty, `whole` is every tier's.
    """

    words: str
    end_s: float
    spans_s: Mapping[str, float]
    traces: Mapping[str, Trace]
    whole: Trace | None
    shares: Mapping[str, float]
    hit_rate: float
    inputs: tuple[Input, ...]

    def trace(self, tier: str) -> Trace:
        """A tier's own requests, else all."""
        found = self.traces.get(tier, self.whole)
        if found is None:
            raise HansomError(
                f"The ledger has no attempts of a tier {tier}; it has {', '.join(self.traces)}."
            )
        return found


def source(asked: PlanCapacityOptions) -> Source:
    """The trace or the ledger, as asked; raises `HansomError`."""
    load(asked.config)  # a trace needs no settings, but a wrong file that was named is refused
    return _of_ledger(asked) if asked.from_ledger else _of_trace(asked)


def _of_trace(asked: PlanCapacityOptions) -> Source:
    if asked.trace is None:
        raise UsageError("Give a TRACE or --from-ledger, one of them.")
    whole = read(asked.trace).scaled(asked.scale, asked.seed)
    words = f"trace {whole.name}" + (f", times {asked.scale:g}" if asked.scale != 1 else "")
    with usage.options():
        end_s = time.time() if asked.ended is None else parse(asked.ended)
    told = "assumption: it ended now" if asked.ended is None else GIVEN
    inputs = (Input("the trace ended", f"{moment(end_s)} UTC", told),)
    return Source(words, end_s, {}, {}, whole, {}, 0.0, inputs)


def _of_ledger(asked: PlanCapacityOptions) -> Source:
    now_s, store = time.time(), open_store(asked.config)
    since_s = None if asked.hours is None else now_s - asked.hours * _HOUR_S
    seen = observe(store, since_s, now_s)
    if seen is None:
        raise HansomError("The ledger has no attempts in that time: there is nothing to plan for.")
    rows: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    for one in metered(store, now_s - seen.span_s, now_s):
        rows[one.tier].append((one.begun_s, one.usage.input_tokens, one.usage.output_tokens))
    # A tier that is new has no history from before its first request, rather than one of silence.
    spans_s = {tier: now_s - min(row[0] for row in found) for tier, found in rows.items()}
    traces = {tier: _trace(tier, found) for tier, found in sorted(rows.items())}
    total = sum(len(trace) for trace in traces.values())
    shares = {tier: len(trace) / total for tier, trace in traces.items()}
    words = f"ledger, the last {seen.span_s / _HOUR_S:,.1f} h"
    return Source(words, now_s, spans_s, traces, None, shares, float(seen.hit_rate), ())


def _trace(tier: str, rows: list[tuple[float, int, int]]) -> Trace:
    at_s, inputs, outputs = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return Trace(
        f"tier {tier}",
        at_s - at_s[0],
        np.maximum(inputs, 1).astype(np.int64),
        np.maximum(outputs, 1).astype(np.int64),
    )
