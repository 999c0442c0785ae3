"""Model a replica's prefix cache as vLLM keeps one; compiled, one look for each block.

A block of KV cache stays where it is until its room is needed. `marks` has one number for each
block that is in several prompts (`autoscale.replay.prefixes`), of `BLOCK_TOKENS` each; what is
found counts in whole blocks of the engine, which are smaller as a rule:

    -n    n running requests use it
    m     it is there until `touched`, the tokens reserved on the replica since ever, comes to m

The blocks of a request that ended go behind all that is free, those of its answer first and its
first block last, and are taken from the other end. So a block is gone once more tokens were
reserved since then than are free ahead of it: m is known when the request ends.

Promises: never more than a cache of that size holds whose least recently used block goes first. It
may be less: a prompt counts whole in `touched`, also where it was found and took no other room.
"""

from typing import Any

from autoscale.replay.engine_compiled import compiled
from autoscale.replay.engine_state import BLOCK_TOKENS, Constants, Ints


@compiled
def found_blocks(one: Any, marks: Ints, request: Any, blocks: Ints) -> int:
    """How many of a prompt's blocks are there, from its first on."""
    found = 0
    while found < request.blocks:
        mark = marks[blocks[request.first_block + found]]
        if 0 <= mark <= one.touched:
            break
        found += 1
    return found


@compiled
def cached_tokens(request: Any, found: int, k: Constants) -> int:
    """What `found` blocks spare of a prompt: whole blocks of the engine, never its last token."""
    tokens = min(found * BLOCK_TOKENS, request.input_tokens - 1)
    return tokens // k.block_tokens * k.block_tokens  # type: ignore[no-any-return]


@compiled
def use(marks: Ints, request: Any, blocks: Ints, most: int) -> None:
    """A request uses its first `most` blocks, found or prefilled, each counted once."""
    for n in range(request.used_blocks, most):
        block = blocks[request.first_block + n]
        marks[block] = min(marks[block], 0) - 1
    request.used_blocks = max(request.used_blocks, most)


@compiled
def leave(one: Any, marks: Ints, request: Any, blocks: Ints, k: Constants) -> None:
    """A request has ended and its room is free; so are its blocks that no other uses."""
    free = one.touched + k.kv_tokens - one.reserved
    for n in range(request.used_blocks):
        block = blocks[request.first_block + n]
        marks[block] += 1
        if marks[block] == 0:
            marks[block] = free - BLOCK_TOKENS * (n + 1) + 1
    request.used_blocks = 0
