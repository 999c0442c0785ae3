"""How much of a trace's input one prefix cache finds, by its size: the replay's beside a plain LRU.

    python -m bench.prefixes TRACE.parquet [--blocks 1000,10000,200000]

The trace has `hash_ids`. Each prompt comes when the one before it has ended, so nothing runs beside
it: the figures are of the cache alone, pooled over all replicas. The plain LRU holds blocks, the
last block of a prompt as well.
"""

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

from autoscale.replay.engine_prefix import cached_tokens, found_blocks, leave, use
from autoscale.replay.engine_state import (
    BLOCK_TOKENS,
    Constants,
    new_marks,
    new_requests,
    new_slots,
)
from autoscale.replay.prefixes import Prefixes
from autoscale.replay.trace import Trace, read


def of_replay(trace: Trace, blocks: int) -> float:
    """The share of input tokens that the replay's cache of so many blocks finds."""
    shared = _prefixes(trace).shared(trace.input_tokens)
    q = new_requests(trace.at_s, trace.input_tokens, trace.output_tokens, shared.starts)
    one: Any = new_slots(1)[0]
    marks = new_marks(1, int(shared.ids.max(initial=-1)) + 1)[0]
    k = Constants(1.0, 0.0, 0.0, 1.0, BLOCK_TOKENS, blocks * BLOCK_TOKENS, 1, BLOCK_TOKENS)
    found = 0
    for request in q:
        found += cached_tokens(request, found_blocks(one, marks, request, shared.ids), k)
        one["touched"] += request["input_tokens"]
        use(marks, request, shared.ids, request["blocks"])
        leave(one, marks, request, shared.ids, k)
    return found / int(trace.input_tokens.sum())


def of_lru(trace: Trace, blocks: int) -> float:
    """The same of a plain LRU, in which the first block of a prompt is the one used last."""
    prefixes = _prefixes(trace)
    kept: OrderedDict[int, None] = OrderedDict()
    found = 0
    for n, tokens in enumerate(trace.input_tokens.tolist()):
        ids = prefixes.ids[prefixes.starts[n] : prefixes.starts[n + 1]].tolist()
        hits = next((i for i, one in enumerate(ids) if one not in kept), len(ids))
        found += min(hits * BLOCK_TOKENS, tokens)
        for one in reversed(ids):
            kept[one] = None
            kept.move_to_end(one)
        while len(kept) > blocks:
            kept.popitem(last=False)
    return found / int(trace.input_tokens.sum())


def _prefixes(trace: Trace) -> Prefixes:
    if trace.prefixes is None:
        raise SystemExit(f"{trace.name} has no hash_ids")
    return trace.prefixes


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--blocks", default="1000,10000,200000")
    args = parser.parse_args(arguments)
    trace = read(args.trace)
    for blocks in (int(part) for part in args.blocks.split(",")):
        print(
            f"{blocks:9,} blocks: {of_replay(trace, blocks):6.2%} in the replay, "
            f"{of_lru(trace, blocks):6.2%} in a plain LRU"
        )


if __name__ == "__main__":
    main()
