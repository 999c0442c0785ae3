"""Continue a broken stream with another generation of the same request.

Promised: what a client gets is one answer. The part of the new generation that it was given
before is compared with it, character by character, and left out; a generation that says anything
else there raises `Differs` before a character of it is passed on. Chunks may be cut otherwise,
and the stream keeps the id that it began with. All of it is pure.
Not covered: streams that had begun to give tool calls, log-probabilities or token ids, which
cannot be cut between characters: they raise `Differs`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from wire.whole import DONE

_TEXTS = ("reasoning", "reasoning_content", "refusal", "content", "text")
_ENDS = ("finish_reason", "stop_reason")
_SAME = ("id", "created")
_PLAIN = frozenset({"index", "delta", "text", *_ENDS})


class Differs(Exception):
    """The new generation does not go on from what was given."""


@dataclass(slots=True)
class _Choice:
    """What was given of one choice, and how far the new generation has repeated it.

    `texts` are what was given by field, `repeated` counts its characters that came again.
    """

    texts: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    role: bool = False
    end: object = None

    @property
    def caught_up(self) -> bool:
        """Everything that was given has come again."""
        return all(self.repeated.get(name, 0) >= len(text) for name, text in self.texts.items())


class Rejoin:
    """The new generation of a stream of which `given`, blocks of whole events, were passed on.

    Raises `Differs` when nothing can go on from them.
    """

    def __init__(self, given: Iterable[bytes]) -> None:
        self._choices: dict[int, _Choice] = {}
        self._envelope: dict[str, Any] = {}
        self._model: object = None
        self._counted = False
        for event in _events(given):
            self._remember(event)

    def feed(self, block: bytes) -> bytes:
        """What of the new generation's next whole events is new; raises `Differs`."""
        return b"".join(self._new(event) for event in _events([block]))

    def _remember(self, event: bytes) -> None:
        chunk = _parse(event)
        if not self._envelope:
            self._envelope = {name: chunk[name] for name in _SAME if name in chunk}
            self._model = chunk.get("model")
        self._counted = self._counted or not chunk["choices"]
        for part in chunk["choices"]:
            choice = self._choices.setdefault(part["index"], _Choice())
            delta = _delta(part)
            if uncut := (delta.keys() - {*_TEXTS, "role"}) | _extras(part):
                raise Differs(f"{sorted(uncut)} cannot be cut between characters")
            choice.role = choice.role or "role" in delta
            choice.end = choice.end or part.get("finish_reason")
            for name in _TEXTS:
                if name in delta:
                    choice.texts[name] = choice.texts.get(name, "") + delta[name]

    def _new(self, event: bytes) -> bytes:
        if event == DONE:
            if all(choice.caught_up for choice in self._choices.values()):
                return event
            raise Differs("ended before what was given")
        chunk = _parse(event)
        if chunk.get("model") != self._model:
            raise Differs("another model")
        parts = [self._part(part) for part in chunk["choices"]]
        kept = [part for part in parts if part is not None]
        if not kept and (parts or self._counted):
            return b""
        return b"data: " + orjson.dumps(chunk | self._envelope | {"choices": kept}) + b"\n\n"

    def _part(self, part: dict[str, Any]) -> dict[str, Any] | None:
        """A chunk's choice without what was given, None when nothing is left of it."""
        choice = self._choices.get(part["index"])
        if choice is None:
            return part
        given, extras, end = _delta(part), _extras(part), part.get("finish_reason")
        fresh = {
            name: rest
            for name, value in given.items()
            if (rest := _rest(choice, name, value)) is not None
        }
        if not fresh and not extras and end is None:
            return None
        if not choice.caught_up:
            raise Differs("went on before what was given had come again")
        if extras and fresh != given:
            raise Differs(f"{sorted(extras)} cannot be cut between characters")
        if choice.end is not None:
            if fresh or extras or end != choice.end:
                raise Differs("did not end where what was given ended")
            return None
        shell = {name: value for name, value in part.items() if name not in ("delta", "text")}
        return shell | ({"delta": fresh} if "delta" in part else {"text": fresh.get("text", "")})


def _rest(choice: _Choice, name: str, value: Any) -> Any:
    """What of one field of a delta is new, None for nothing."""
    if name == "role":
        return None if choice.role else value
    if name not in _TEXTS:
        return value
    at = choice.repeated.get(name, 0)
    given = choice.texts.get(name, "")[at : at + len(value)]
    if not value.startswith(given):
        raise Differs("another text")
    choice.repeated[name] = at + len(value)
    return value[len(given) :] or None


def _delta(part: dict[str, Any]) -> dict[str, Any]:
    """What a chunk's choice adds, in chat and in text completions, without nulls."""
    delta = {**(part.get("delta") or {}), "text": part.get("text")}
    return {name: value for name, value in delta.items() if value is not None}


def _extras(part: dict[str, Any]) -> set[str]:
    """Names of what is counted by token and not by character."""
    return {name for name, value in part.items() if value is not None and name not in _PLAIN}


def _events(blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in blocks:
        for event in block.split(b"\n\n"):
            if event:
                yield event + b"\n\n"


def _parse(event: bytes) -> dict[str, Any]:
    """An event's chunk; what is none cannot be compared."""
    try:
        chunk = orjson.loads(event.removeprefix(b"data:"))
        if isinstance(chunk["choices"], list):
            return dict(chunk)
    except (ValueError, KeyError, TypeError) as error:
        raise Differs(f"not a chunk: {error!r}") from error
    raise Differs("not a chunk")
