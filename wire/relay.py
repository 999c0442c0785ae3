"""Relaying an engine's server-sent events without parsing every token.

Promises: bytes leave in whole events and in order; the engine's running usage is taken out of
each chunk (it is asked for so that a client that leaves still pays for exactly what was made);
the last event before `[DONE]` carries a `hansom` object with tier, cost and cache state, in the
usage chunk when the client asked for one, else in the chunk with the finish reason.
Most blocks cost one regular-expression pass. Searching bytes for JSON fragments is sound here
because every quote inside a JSON string is escaped, so `"choices":[]` cannot stand in content.
Not covered: building a stream from a stored answer (`wire.whole`).
"""

import re
from collections.abc import Callable, Iterator
from typing import Protocol

import orjson

from core.call import Usage
from core.errors import HansomError
from core.parameters import Parameters

DONE = b"data: [DONE]\n\n"
_USAGE = re.compile(rb',"usage":(?:null|\{(?:[^{}]|\{[^{}]*\})*\})')
_INDEX = re.compile(rb'"choices":\[\{"index":(\d+)')
_SPECIAL = re.compile(rb'"finish_reason":"|"choices":\[\]|data: \[DONE\]|^data: \{"error"', re.M)


class Blocks(Protocol):
    """An engine's stream as it comes."""

    async def block(self) -> bytes:
        """The next bytes; empty at the end."""

    def close(self) -> None:
        """Leave it, which ends the engine's work on what is still to come."""


def parse_usage(usage: object) -> Usage:
    """OpenAI's `usage` object as a `Usage`; absent counts are 0."""
    if not isinstance(usage, dict):
        return Usage()
    details = usage.get("prompt_tokens_details") or {}
    cached = int(details.get("cached_tokens") or 0) if isinstance(details, dict) else 0
    prompt = int(usage.get("prompt_tokens") or 0)
    return Usage(prompt - cached, cached, int(usage.get("completion_tokens") or 0))


def _last_usage(events: bytes) -> Usage:
    """The last running usage in some events; raises `ValueError` or `TypeError`."""
    found = _USAGE.findall(events)
    return parse_usage(orjson.loads(found[-1][len(b',"usage":') :])) if found else Usage()


def error_event(error: HansomError) -> bytes:
    """An error as an event: the OpenAI client raises it as an `APIError`."""
    return b"data: " + orjson.dumps(error.body()) + b"\n\n"


class SseRelay:
    """One stream from an engine to a client.

    `closing` turns the final usage into the `hansom` object. With `keep`, every event without
    its running usage is collected in `kept` for the cache. `asked` is what the stream answers:
    running usage is that of one choice, so that of several each one's last is remembered.
    """

    def __init__(
        self,
        *,
        want_usage: bool,
        keep: bool,
        closing: Callable[[Usage], dict[str, object]],
        asked: Parameters | None = None,
    ) -> None:
        self._several = asked if asked is not None and asked.sequences > 1 else None
        self._running: dict[int, bytes] = {}
        self._want_usage = want_usage
        self._keep = keep
        self._closing = closing
        self._tail = b""
        self._held = b""
        self._latest = b""
        self._final_usage: Usage | None = None
        self.kept: list[bytes] = []
        self.finished = False
        self.failure: dict[str, object] | None = None

    @property
    def complete(self) -> bool:
        """The whole answer came; nothing follows it, nor an error."""
        return self.finished and self.failure is None

    @property
    def usage(self) -> Usage:
        """Tokens so far: the engine's final count, or its last running one; never raises.

        It is asked for when a stream ends, and a count of no known form must not cost its line.
        """
        if self._final_usage is not None:
            return self._final_usage
        try:
            return self._running_usage()
        except (ValueError, TypeError):
            return Usage()

    def _running_usage(self) -> Usage:
        """Add up usage: one choice's last; of several, each prompt once and all output."""
        if self._several is None:
            return _last_usage(self._latest)
        told = {index: _last_usage(event) for index, event in self._running.items()}
        prompts = {index // self._several.choices: one for index, one in told.items()}.values()
        return Usage(
            sum(one.fresh_input_tokens for one in prompts),
            sum(one.cached_input_tokens for one in prompts),
            sum(one.output_tokens for one in told.values()),
        )

    def feed(self, block: bytes) -> bytes:
        """Take bytes as they came and return those that may go to the client now."""
        data = self._tail + block if self._tail else block
        cut = data.rfind(b"\n\n") + 2
        if cut == 1:
            self._tail = data
            return b""
        whole, self._tail = data[:cut], data[cut:]
        if self._held or self.finished or _SPECIAL.search(whole):
            return b"".join(self._one(event) for event in split(whole))
        self._note(whole)
        return self._pass(_USAGE.sub(b"", whole))

    def _note(self, events: bytes) -> None:
        """Remember the last running usage; an event without one doesn't take it back."""
        if b',"usage":{' not in events:
            return
        self._latest = events
        for event in split(events) if self._several else ():
            if b',"usage":{' in event and (index := _INDEX.search(event)):
                self._running[int(index[1])] = event

    def _pass(self, events: bytes) -> bytes:
        if self._keep:
            self.kept.append(events)
        return events

    def _one(self, event: bytes) -> bytes:
        """One event near the end; the last of them waits for the usage, which comes after it."""
        if self.finished:
            return b""
        if event == DONE:
            self.finished = True
            last = with_extra(self._held, self._closing(self.usage)) if self._held else b""
            self._pass(self._held + DONE)  # what is kept is for other requests than this one
            return last + DONE
        if event.startswith(b'data: {"error"'):
            self.finished = True
            self.failure = _error(event)
            return self._hold(b"") + event
        if b'"choices":[]' in event and b'"usage":{' in event:
            self._final_usage = parse_usage(payload(event).get("usage"))
            if self._want_usage:
                return self._hold(event)
            if self._keep:
                self.kept.append(event)
            return b""
        self._note(event)
        event = _USAGE.sub(b"", event)
        if b'"finish_reason":"' in event:
            return self._hold(event)
        return self._hold(b"") + self._pass(event)

    def _hold(self, event: bytes) -> bytes:
        """Keep `event` back and let go of the one that was."""
        before, self._held = self._held, event
        return self._pass(before) if before else b""


def with_extra(event: bytes, extra: dict[str, object]) -> bytes:
    """The event with a `hansom` object beside OpenAI's own fields."""
    return b"data: " + orjson.dumps(payload(event) | {"hansom": extra}) + b"\n\n"


def payload(event: bytes) -> dict[str, object]:
    """An event's data; raises `ValueError` when it is not a JSON object."""
    body = orjson.loads(event[len(b"data: ") :])
    if not isinstance(body, dict):
        raise ValueError("an event's data must be a JSON object")
    return body


def _error(event: bytes) -> dict[str, object]:
    error = payload(event).get("error")
    return error if isinstance(error, dict) else {"message": str(error)}


def split(whole: bytes) -> Iterator[bytes]:
    """Split complete events, keeping their blank line."""
    for event in whole.split(b"\n\n"):
        if event:
            yield event + b"\n\n"
