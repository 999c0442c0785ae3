"""Decide which keys a purge removes.

Promises: pure; everything that is given must hold, and what is not given selects nothing and
refuses nothing. An answer or entry whose age cannot be read is not older than anything.
Not covered: following an entry to its answer and back, and removing (`cache.admin.redis_purge`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import orjson

from cache.admin.key_names import KeyKind, read
from cache.semantic.entries import SemanticEntry

# Of an answer's bytes, enough to hold the line of facts before its body.
HEAD_BYTES = 4096
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


@dataclass(frozen=True, slots=True)
class Selection:
    """What to remove.

    `owner` is an owner's hash; `keys` are names of answers and entries; `before_s` is wall time:
    what was made before it goes.
    """

    owner: str | None = None
    tag: str | None = None
    keys: frozenset[str] | None = None
    before_s: float | None = None

    @property
    def whole(self) -> bool:
        """Whether all of an owner goes, or everything there is."""
        return self.tag is None and self.keys is None and self.before_s is None

    @property
    def owners(self) -> str | None:
        """The hash of the one owner whose keys have to be looked at; None: all."""
        if self.owner is not None or not self.keys:
            return self.owner
        found = {name.owner for key in self.keys if (name := read(key.encode()))}
        return found.pop() if len(found) == 1 else None

    def answer(self, key: str, made_s: float | None) -> bool:
        """Whether an answer goes, as far as its key and its age tell; its tags lie elsewhere."""
        return self._of(key, KeyKind.ANSWER) and self._aged(made_s)

    def entry(self, key: str, entry: SemanticEntry | None, tagged: Collection[str] = ()) -> bool:
        """Whether an entry goes, None being an unreadable one; `tagged` keys bear the tag."""
        bears = self.tag is None or key in tagged or (entry is not None and self.tag in entry.tags)
        made_s = entry.created_s if entry else None
        return self._of(key, KeyKind.ENTRY) and bears and self._aged(made_s)

    def _of(self, key: str, kind: KeyKind) -> bool:
        name = read(key.encode("utf-8", "surrogateescape"))
        if name is None or name.kind is not kind or self.owner not in (None, name.owner):
            return False
        return self.keys is None or key in self.keys

    def _aged(self, made_s: float | None) -> bool:
        return self.before_s is None or (made_s is not None and made_s < self.before_s)


def made_s(head: bytes) -> float | None:
    """When an answer was made, wall time, from its first `HEAD_BYTES`; None where that is unread.

    The line of facts is that of `cache.exact.answers.CachedAnswer.to_bytes`.
    """
    try:
        return float(orjson.loads(head.partition(b"\n")[0])["created_s"])
    except (ValueError, KeyError, TypeError):
        return None


def duration_s(text: str) -> float:
    """Seconds of `90s`, `30m`, `2h`, `7d`, `1w`; raises `ValueError` for anything else."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no span of time: write 90s, 30m, 2h, 7d or 1w")
    return float(found[1]) * _UNITS_S[found[2]]
