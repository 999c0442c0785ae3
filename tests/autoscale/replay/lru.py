"""A prefix cache in plain Python: what the compiled one must never pass."""

from collections import OrderedDict
from dataclasses import dataclass, field

BLOCK = 512


@dataclass
class Lru:
    """KV cache of `size` tokens. What no running request reserves keeps blocks, oldest first.

    An answer, and what is left of a prompt after its whole blocks, is a block that nobody asks for.
    """

    size: int
    reserved: int = 0
    used: dict[int, int] = field(default_factory=dict)
    free: OrderedDict[object, int] = field(default_factory=OrderedDict)

    def found(self, prompt: list[int], tokens: int) -> int:
        """Leading blocks that are there, but for one that holds the last token."""
        most = min(len(prompt), (tokens - 1) // BLOCK)
        n = 0
        while n < most and (prompt[n] in self.used or prompt[n] in self.free):
            n += 1
        return n

    def begin(self, prompt: list[int], tokens: int, need: int) -> int:
        """Reserve `need` tokens, and use the blocks that are there."""
        found = self.found(prompt, tokens)
        self.fill(prompt[:found])
        self.reserved += need
        while sum(self.free.values()) > self.size - self.reserved:
            self.free.popitem(last=False)
        return found

    def fill(self, blocks: list[int]) -> None:
        """Blocks that are prefilled are used by one request more."""
        for block in blocks:
            self.free.pop(block, None)
            self.used[block] = self.used.get(block, 0) + 1

    def end(self, prompt: list[int], need: int) -> None:
        """Its last tokens are the first to go, its first block the last."""
        self.reserved -= need
        self.free[object()] = need - BLOCK * len(prompt)
        for block in reversed(prompt):
            self.used[block] -= 1
            if not self.used[block]:
                del self.used[block]
                self.free[block] = BLOCK
