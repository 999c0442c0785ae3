"""A semantic entry, and the port to the entries near a prompt.

Promises: an entry survives `to_bytes` and `from_bytes` but for fractions of a second and the last
digits of its outcomes' cosines (steps of 1/16383); foreign, cut or damaged bytes are a
`ValueError`. A prompt of 60 characters takes 124 bytes.
Not covered: which entry may answer (`cache.semantic.consensus`), and where entries are kept
(`cache.semantic.redis_vectors`).
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from cache.exact.key import KEY_PREFIX
from cache.semantic.boundary import KEPT, Boundary

FORMAT_VERSION = 1
SCOPE_PREFIX, NEAR_PREFIX, ENTRY_PREFIX = "hansom:scope:", "hansom:near:", "hansom:entry:"
OUTCOME_BYTES = 2
_STEPS = 16383  # of a cosine from 0 to 1: 15 bits in all, and one for the outcome
_OWN_KEY = re.compile(re.escape(KEY_PREFIX) + r"\{([0-9a-f]{16})\}:([0-9a-f]{64})")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_OWNER_BYTES, _SHA_BYTES = 8, 32
_SCOPE_BYTES = 13

_UNSEEN = Boundary()


class _Facts(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """An entry's attributes as stored; the last two are left out where they have their defaults."""

    text: bytes
    answer: bytes
    exact_key: bytes
    created_s: int
    tags: tuple[str, ...] = ()
    id: str | None = None


_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Facts)


@dataclass(frozen=True, slots=True)
class SemanticEntry:
    """One prompt that was answered.

    `id` is `entry_id` of the text; `answer` names what was answered, so that entries with one
    answer can be told; `exact_key` is where that answer lies; `created_s` is wall time.
    """

    id: str
    text: str
    answer: str
    exact_key: str
    tags: tuple[str, ...]
    created_s: float
    boundary: Boundary = _UNSEEN

    def to_bytes(self) -> bytes:
        """Version, count of outcomes, outcomes, then the facts: outcomes can be added in place."""
        outcomes = self.boundary.outcomes[-KEPT:]
        facts: tuple[object, ...] = (
            self.text.encode("utf-8", "surrogatepass"),
            _packed(self.answer),
            _packed(self.exact_key),
            int(self.created_s),
        )
        if self.id != entry_id(self.text):
            facts = (*facts, self.tags, self.id)
        elif self.tags:
            facts = (*facts, self.tags)
        head = bytes((FORMAT_VERSION, len(outcomes)))
        return head + b"".join(outcome(*one) for one in outcomes) + _ENCODER.encode(facts)

    @classmethod
    def from_bytes(cls, raw: bytes) -> SemanticEntry:
        """Read what `to_bytes` wrote; raises `ValueError` for anything else."""
        if len(raw) < 2 or raw[0] != FORMAT_VERSION or raw[1] > KEPT:
            raise ValueError("not an entry, or one of another format version")
        end = 2 + OUTCOME_BYTES * raw[1]
        try:
            facts = _DECODER.decode(raw[end:])
        except msgspec.DecodeError as error:
            raise ValueError(f"not an entry: {error}") from error
        text = facts.text.decode("utf-8", "surrogatepass")
        return cls(
            entry_id(text) if facts.id is None else facts.id,
            text,
            _unpacked(facts.answer),
            _unpacked(facts.exact_key),
            facts.tags,
            float(facts.created_s),
            Boundary(tuple(_outcomes(raw[2:end]))),
        )


class Nearby(Protocol):
    """Entries by the nearness of their vectors, each scope apart.

    Vectors are (D,) float32, of any length but 0, D the same within a scope. Everything raises
    `redis.RedisError` or `OSError` when the store fails.
    """

    async def near(
        self, scope_key: str, vector: NDArray[np.float32], count: int
    ) -> list[tuple[SemanticEntry, float]]:
        """At most `count` entries, nearest first, each with its cosine in [-1, 1]."""

    async def keep(
        self,
        scope_key: str,
        vector: NDArray[np.float32],
        entry: SemanticEntry,
        ttl_s: int,
        cap: int,
    ) -> None:
        """Keep the entry for `ttl_s`, in place of one with its id; at most `cap` in a scope."""

    async def forget(self, scope_key: str, ids: Sequence[str]) -> None:
        """Remove these entries, as far as they are there."""

    async def learn(self, scope_key: str, id: str, cosine: float, same: bool) -> None:
        """Add an outcome to the entry's boundary; nothing when the entry is gone."""


def entry_id(text: str) -> str:
    """The id of the entry for a text: 16 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def near_key(scope_key: str) -> str:
    """The vector set of a scope, in the scope's cluster slot."""
    return NEAR_PREFIX + scope_key.removeprefix(SCOPE_PREFIX)


def entry_key(scope_key: str, id: str) -> str:
    """Where an entry's bytes lie: `hansom:entry:{<owner>}:<scope>:<id>`, in the scope's slot.

    The scope is named by 104 bits of its key's SHA-256, in 18 characters: with the 64 of the scope
    key the name would take more memory than the text.
    """
    digest = hashlib.sha256(scope_key.encode()).digest()[:_SCOPE_BYTES]
    tag = scope_key.removeprefix(SCOPE_PREFIX).rpartition(":")[0]
    return f"{ENTRY_PREFIX}{tag}:{urlsafe_b64encode(digest).decode().rstrip('=')}:{id}"


def outcome(cosine: float, same: bool) -> bytes:
    """One outcome in `OUTCOME_BYTES`; a cosine beyond [-1, 1] counts as the end of it."""
    steps = round(min(1.0, max(-1.0, cosine)) * _STEPS) + _STEPS
    return (2 * steps + same).to_bytes(OUTCOME_BYTES, "big")


def _outcomes(raw: bytes) -> list[tuple[float, bool]]:
    numbers = np.frombuffer(raw, ">u2")
    return [((int(n) // 2 - _STEPS) / _STEPS, bool(n % 2)) for n in numbers]


def _packed(name: str) -> bytes:
    """One of our exact keys in 41 bytes, hex digits in half of theirs, anything else as it is."""
    if found := _OWN_KEY.fullmatch(name):
        return b"k" + bytes.fromhex(found[1] + found[2])
    if _HEX.fullmatch(name):
        return b"h" + bytes.fromhex(name)
    return b"t" + name.encode("utf-8", "surrogatepass")


def _unpacked(raw: bytes) -> str:
    kind, rest = raw[:1], raw[1:]
    if kind == b"k" and len(rest) == _OWNER_BYTES + _SHA_BYTES:
        return f"{KEY_PREFIX}{{{rest[:_OWNER_BYTES].hex()}}}:{rest[_OWNER_BYTES:].hex()}"
    if kind == b"h":
        return rest.hex()
    if kind == b"t":
        return rest.decode("utf-8", "surrogatepass")
    raise ValueError("not an entry: a name of unknown kind")
