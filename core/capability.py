"""What a tier can do, what a request needs, and what of it a tier lacks.

Promises: pure. What is not known of a tier never speaks against it, and `prompt_tokens` is a lower
bound: a tier is passed over only where it is certain to refuse. Its engine has the last word.
Not covered: tokens of images, sounds and offered tools, which only an engine can count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from pydantic import Field

from core.call import Endpoint
from core.errors import BadRequest, ContextTooLong, NotSupported
from core.settings.base import Frozen


class CapabilitySettings(Frozen):
    """What the operator says of a tier; None leaves it to the engine."""

    tools: bool | None = None
    structured_output: bool | None = None
    vision: bool | None = None
    audio: bool | None = None
    video: bool | None = None
    logprobs: int | None = Field(None, ge=0)
    context_tokens: int | None = Field(None, ge=1)
    output_tokens: int | None = Field(None, ge=1)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a tier can do; None where it is not known.

    `context_tokens` hold a prompt and its answer together; `output_tokens` is the longest answer
    that may be asked for; `logprobs` the most log-probabilities of one token.
    """

    tools: bool | None = None
    structured_output: bool | None = None
    vision: bool | None = None
    audio: bool | None = None
    video: bool | None = None
    logprobs: int | None = None
    context_tokens: int | None = None
    output_tokens: int | None = None

    def over(self, other: Capabilities) -> Capabilities:
        """These, and what `other` knows where these do not."""
        merged = {
            field.name: getattr(other if getattr(self, field.name) is None else self, field.name)
            for field in fields(self)
        }
        return Capabilities(**merged)


UNKNOWN = Capabilities()


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request needs of a tier.

    `prompt_tokens` is a lower bound. `output_tokens` is what the request asks for, 0 without a
    limit; `logprobs` is asked for by token.
    """

    tools: bool = False
    structured_output: bool = False
    vision: bool = False
    audio: bool = False
    video: bool = False
    logprobs: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together, at least; every answer has a token."""
        return self.prompt_tokens + max(self.output_tokens, 1)


NONE = Needs()


class Lack(StrEnum):
    """What a tier may lack."""

    TOOLS = "tools"
    STRUCTURED_OUTPUT = "structured_output"
    VISION = "vision"
    AUDIO = "audio"
    VIDEO = "video"
    LOGPROBS = "logprobs"
    CONTEXT = "context_tokens"
    OUTPUT = "output_tokens"


_NOT_THERE = {
    Lack.TOOLS: "no tool calls",
    Lack.STRUCTURED_OUTPUT: "no structured output",
    Lack.VISION: "no image input",
    Lack.AUDIO: "no audio input",
    Lack.VIDEO: "no video input",
}
# The field of a request that asks for it.
_PARAMS = {
    Lack.TOOLS: "tools",
    Lack.STRUCTURED_OUTPUT: "response_format",
    Lack.LOGPROBS: "top_logprobs",
    Lack.OUTPUT: "max_tokens",
}


def lacks(needs: Needs, can: Capabilities) -> dict[Lack, str]:
    """What a tier is known to lack for a request; in words that go after "has"."""
    found = {
        lack: words
        for lack, words in _NOT_THERE.items()
        if getattr(needs, lack) and getattr(can, lack) is False
    }
    if can.logprobs is not None and needs.logprobs > can.logprobs:
        found[Lack.LOGPROBS] = (
            f"{can.logprobs} log-probabilities a token at most, where {needs.logprobs} are wanted"
        )
    if can.output_tokens is not None and needs.output_tokens > can.output_tokens:
        found[Lack.OUTPUT] = (
            f"an output limit of {can.output_tokens:,} tokens, where {needs.output_tokens:,} "
            "are asked for"
        )
    if can.context_tokens is not None and needs.context_tokens > can.context_tokens:
        found[Lack.CONTEXT] = (
            f"a context of {can.context_tokens:,} tokens, where at least "
            f"{needs.context_tokens:,} are needed"
        )
    return found


def not_supported(message: str, lacking: Iterable[Lack]) -> BadRequest:
    """The error for a request whose needs are not met.

    It is `ContextTooLong` where only the context is too small.
    """
    kinds = sorted(lacking, key=list(Lack).index)
    if set(kinds) == {Lack.CONTEXT}:
        return ContextTooLong(message, param="messages", code="context_length_exceeded")
    first = kinds[0]
    return NotSupported(message, param=_PARAMS.get(first, "messages"), code="not_supported")


def needs_of(endpoint: Endpoint, body: Mapping[str, object]) -> Needs:
    """What a checked body of `endpoint` needs; fields of another type than OpenAI's ask nothing."""
    chat = endpoint is Endpoint.CHAT
    kinds = set(_kinds(body)) if chat else set()
    limits = ("max_completion_tokens", "max_tokens") if chat else ("max_tokens",)
    return Needs(
        tools=bool(body.get("tools")) and body.get("tool_choice") != "none",
        structured_output=_structured(body),
        vision="image" in kinds,
        audio="audio" in kinds,
        video="video" in kinds,
        logprobs=_logprobs(body, chat=chat),
        # A prompt that its engine cuts has no length that could be too long.
        prompt_tokens=0 if body.get("truncate_prompt_tokens") else _prompt_tokens(body, chat=chat),
        output_tokens=next((limit for name in limits if (limit := _count(body.get(name)))), 0),
    )


def _structured(body: Mapping[str, object]) -> bool:
    wanted = body.get("response_format")
    formatted = isinstance(wanted, Mapping) and wanted.get("type") not in (None, "text")
    return formatted or bool(body.get("structured_outputs"))


def _logprobs(body: Mapping[str, object], *, chat: bool) -> int:
    """The most log-probabilities that any token is to have."""
    asked = body.get("top_logprobs") if chat and body.get("logprobs") else None
    if not chat:
        asked = body.get("logprobs")
    return max(_count(asked), _count(body.get("prompt_logprobs")))


def _count(value: object) -> int:
    """A number that is asked for, 0 for what is none or asks for all there is."""
    counted = isinstance(value, int) and not isinstance(value, bool)
    return max(int(value), 0) if counted else 0  # type: ignore[call-overload] # seen to be an int


def _kinds(body: Mapping[str, object]) -> Iterator[str]:
    """`image`, `audio` and `video`, as often as the messages have a part of it."""
    for part in _parts(body):
        # vLLM takes a part without `type` for what its other field names.
        for name in (part.get("type"), *part):
            for kind in ("image", "audio", "video"):
                if isinstance(name, str) and name.removeprefix("input_").startswith(kind):
                    yield kind


def _parts(body: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The content parts of all messages."""
    for message in _list(body.get("messages")):
        content = message.get("content") if isinstance(message, Mapping) else None
        yield from (part for part in _list(content) if isinstance(part, Mapping))


def _prompt_tokens(body: Mapping[str, object], *, chat: bool) -> int:
    """Fewest tokens that the prompt can have: no token of the usual vocabularies spans a blank."""
    if not chat:
        return _tokens_of(body.get("prompt"))
    texts = [
        message.get("content")
        for message in _list(body.get("messages"))
        if isinstance(message, Mapping)
    ]
    texts += [part.get("text") for part in _parts(body)]
    return sum(len(text.split()) for text in texts if isinstance(text, str))


def _tokens_of(prompt: object) -> int:
    """Count a prompt's words, or its token ids; for several prompts, those of the longest."""
    if isinstance(prompt, str):
        return len(prompt.split())
    items = _list(prompt)
    if items and isinstance(items[0], int):
        return len(items)
    return max((_tokens_of(item) for item in items), default=0)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
