"""Parse the names of the cache's keys in Redis: their kind, owner and scope.

Promises: pure; a name that is none of the cache's is None, not an error. The hash of an owner is
the one that every key of theirs bears between braces.
Not covered: making names, which `cache.exact.key`, `cache.scope`, `cache.semantic` and others do.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from cache.semantic.entries import SCOPE_PREFIX

ANY_OWNER = "?" * 16
_NAME = re.compile(rb"hansom:([a-z]+):\{([0-9a-f]{16})\}:(.+)", re.DOTALL)
_GLOB = re.compile(r"([\\*?\[\]])")


class KeyKind(StrEnum):
    """What lies under a key."""

    ANSWER = "exact"
    ENTRY = "entry"
    SCOPE = "near"
    TAG = "tag"
    BUDGET = "budget"

    @property
    def prefix(self) -> str:
        """How its keys begin, up to the owner."""
        return f"hansom:{self}:"


@dataclass(frozen=True, slots=True)
class Name:
    """A key taken apart; `rest` is what follows the owner's hash."""

    kind: KeyKind
    owner: str
    rest: bytes

    @property
    def scope_key(self) -> str:
        """Return the scope of a vector set's key."""
        return f"{SCOPE_PREFIX}{{{self.owner}}}:{self.rest.decode()}"


def read(key: bytes) -> Name | None:
    """The parts of a key, None of one that is not listed in `KeyKind`."""
    found = _NAME.fullmatch(key)
    if found is None:
        return None
    try:
        return Name(KeyKind(found[1].decode()), found[2].decode(), found[3])
    except ValueError:
        return None


def owner_tag(owner: str) -> str:
    """The hash of an owner (`cache.exact.key.owner`), as its keys bear it: 16 hex digits."""
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def pattern(kind: KeyKind, owner: str | None, rest: str | None = None) -> str:
    """For SCAN: keys of a kind, of one owner's hash or of all, ending in `rest` to the letter."""
    end = "*" if rest is None else _GLOB.sub(r"\\\1", rest)
    return f"{kind.prefix}{{{owner or ANY_OWNER}}}:{end}"


def parted(key: str) -> tuple[str, str] | None:
    """What an entry's key shares with its scope's others, and its id; None of another key.

    The first is `entry_key(scope_key, "")` of its scope, which does not tell all of that key.
    """
    name = read(key.encode("utf-8", "surrogateescape"))
    if name is None or name.kind is not KeyKind.ENTRY:
        return None
    shared, colon, id = key.rpartition(":")
    return shared + colon, id
