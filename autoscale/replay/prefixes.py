"""Shared prefixes of prompts: each prompt is the ids of its blocks of `BLOCK_TOKENS` tokens.

Equal ids mean equal prompts up to the end of that block, so an id always follows the same one. The
last block of a prompt may be shorter.

Promises: immutable; `PrefixError` says which prompt breaks a rule and how. Copies that are laid
over one another share nothing: other callers have other prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscale.replay.engine_state import BLOCK_TOKENS, Ints


class PrefixError(ValueError):
    """One sentence about one prompt."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """N prompts: the ids (M,) of all blocks; those of prompt n begin at `starts[n]` (N + 1,)."""

    ids: Ints
    starts: Ints

    @classmethod
    def of(cls, ids: Ints, starts: Ints, input_tokens: Ints) -> Prefixes:
        """Checked: as many blocks as the prompts (N,) are long, each after the one it follows."""
        made = cls(ids, starts)
        have, long = np.diff(starts), -(-input_tokens // BLOCK_TOKENS)
        if (bad := np.flatnonzero(have != long)).size:
            row = int(bad[0])
            raise PrefixError(
                f"row {row} has {have[row]} ids, and its prompt of {input_tokens[row]} tokens has "
                f"{long[row]} blocks of {BLOCK_TOKENS}"
            )
        made._check_chains()
        return made

    @classmethod
    def none(cls, prompts: int) -> Prefixes:
        """Return `n` prompts without a known block."""
        return cls(np.zeros(0, np.int64), np.zeros(prompts + 1, np.int64))

    def take(self, rows: Ints, copies: Ints) -> Prefixes:
        """The prompts of `rows` (K,); those of different `copies` (K,) share nothing."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate(([0], np.cumsum(lengths)))
        at = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        _, dense = np.unique(self.ids, return_inverse=True)
        most = int(dense.max(initial=0)) + 1
        return Prefixes(dense[at] + most * np.repeat(copies, lengths), starts)

    def shared(self, input_tokens: Ints) -> Prefixes:
        """Only whole blocks that several prompts (N,) have, with ids from 0 on.

        These are the first of each prompt. No cache is asked for the others again.
        """
        starts, lengths = self.starts, np.diff(self.starts)
        within = np.arange(len(self.ids)) - np.repeat(starts[:-1], lengths)
        whole = within < np.repeat(input_tokens // BLOCK_TOKENS, lengths)
        _, dense = np.unique(self.ids, return_inverse=True)
        kept = whole & (np.bincount(dense[whole], minlength=len(self.ids))[dense] > 1)
        counts = np.concatenate(([0], np.cumsum(kept)))
        _, ids = np.unique(dense[kept], return_inverse=True)
        return Prefixes(ids, counts[starts])

    def _check_chains(self) -> None:
        """Each id follows the same id wherever it stands, or always begins a prompt."""
        _, first_at, dense = np.unique(self.ids, return_index=True, return_inverse=True)
        before = np.concatenate(([-1], dense[:-1])) if len(dense) else dense
        before[self.starts[:-1][np.diff(self.starts) > 0]] = -1
        if (bad := np.flatnonzero(before != before[first_at][dense])).size:
            at, first = int(bad[0]), int(first_at[dense[bad[0]]])
            row, other = np.searchsorted(self.starts, (at, first), side="right") - 1
            raise PrefixError(
                f"row {row} has the id {self.ids[at]} after another one than row {other} has it; "
                "equal ids are equal prompts up to there"
            )
