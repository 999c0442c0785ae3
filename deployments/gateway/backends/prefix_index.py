"""Track which replica has read a prompt's beginning: hashed blocks of text, in a bounded table.

An engine keeps the KV cache of what it has read, block by block, and does not compute the same
beginning again (vLLM's automatic prefix caching). Who chooses the replica can make use of it. A
gateway has no tokenizer of each model, so it counts text: a block is `BLOCK_BYTES` of it, and its
hash covers all text up to its end, as that of vLLM's own blocks covers all tokens.

Promises: pure; equal beginnings have equal blocks, whatever follows; the messages of a conversation
begin with those of its last turn. A prompt is at hand as far as its blocks were sent to a replica
and few enough others since: the engine may have dropped them earlier, so this is a guess, and a
wrong one costs a prefill and never an answer.
Not covered: what an answer leaves in the cache, until its conversation goes on; several prompts in
one request count as one; an image counts by the length of its text.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

BLOCK_BYTES = 256
BYTES_PER_TOKEN = 4
BLOCK_TOKENS = BLOCK_BYTES // BYTES_PER_TOKEN


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt of about `tokens` tokens, as the hashes of its whole `blocks`, in a chain.

    `home` is the same for equal first blocks in every process, as the hashes are not.
    """

    tokens: int
    blocks: tuple[int, ...] = ()
    home: int = 0


NO_PROMPT = Prompt(0)


def read(body: Mapping[str, Any]) -> Prompt:
    """The prompt of a request in OpenAI's form, in the order in which chat templates lay it out."""
    said = body.get("messages", body.get("prompt"))
    # Tools stand in the system's turn; vLLM keeps the caches of unequal salts apart.
    before = [body[name] for name in ("cache_salt", "tools") if body.get(name)]
    # Without the closing bracket, so that a longer conversation begins as a shorter one does.
    text = orjson.dumps(before)[:-1] + orjson.dumps(said)[:-1]
    blocks, chain = list[int](), 0
    for end in range(BLOCK_BYTES, len(text) + 1, BLOCK_BYTES):
        chain = hash((chain, text[end - BLOCK_BYTES : end]))
        blocks.append(chain)
    home = zlib.crc32(text[:BLOCK_BYTES])
    return Prompt(len(text) // BYTES_PER_TOKEN, tuple(blocks), home)


class PrefixIndex:
    """The blocks that one replica was sent: the newest `most` of them.

    Of one prompt the last blocks are the first to go, as vLLM frees them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        """How many blocks are known."""
        return len(self._blocks)

    def tokens(self, prompt: Prompt) -> int:
        """How many of the prompt's first tokens are at hand."""
        held = 0
        for block in prompt.blocks:
            if block not in self._blocks:
                break
            held += 1
        return held * BLOCK_TOKENS

    def add(self, prompt: Prompt) -> None:
        """The replica is sent this prompt."""
        for block in reversed(prompt.blocks):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)
