"""Read the OpenAI request bodies, as far as the gateway itself needs their fields.

Only what routing, caching and accounting need is declared; every other field passes through to
the engine, whose own OpenAI classes check it. What is declared is read strictly: `"8"`, `8.0` and
`true` are no integers here, although an engine may take them for one. `normal` is the one spelling
in which a body is checked, keyed, counted and passed on, and `parameters` the one reading of it.
Not covered: responses, which are passed on.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.call import Endpoint
from core.errors import BadRequest
from core.parameters import Parameters
from core.settings.allowed import allowed

MAX_CHOICES = 128
"""The greatest `n`, which is OpenAI's."""
MAX_SEQUENCES = 2048
"""The most answers to one request: prompts times `n`; OpenAI takes as many prompts."""
MAX_TOKENS = 2**31 - 1
"""The greatest output limit: no context is as long, and what is counted stays exact in Redis."""
EMBEDDING_MODEL = "all-MiniLM-L6-v2"
EMBEDDING_SIZE = 384
Body = TypeVar("Body", bound=BaseModel)


_TEXT_PARTS = ("text", "input_text", "output_text", "refusal", "thinking")
# Fields whose form OpenAI defines: a null inside is a field that was left out.
_STRUCTURED = frozenset(
    {
        "messages",
        "stream_options",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "audio",
        "prediction",
        "web_search_options",
    }
)
# JSON of the caller's own below them: a null in a schema's `enum` or `default` is a value.
_FREE_FORM = frozenset({"parameters", "schema", "arguments", "input", "grammar"})
_LEVELS = 8
"""How deep OpenAI's own fields nest, and more: below that nothing of theirs can stand."""

_UNION_MEMBER = re.compile(r"(str|int|list|dict)(\[.*\])?")


class WireModel(BaseModel):
    """A body from outside: what is not declared passes through."""

    model_config = ConfigDict(extra="allow", protected_namespaces=(), strict=True)


class StreamOptions(WireModel):
    """`stream_options`."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Message(WireModel):
    """One turn; `content` is text, content parts, or absent beside tool calls."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class _Generation(WireModel):
    model: str = Field(min_length=1, max_length=200)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    max_tokens: int | None = Field(None, ge=0, le=MAX_TOKENS)
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    user: str | None = None

    def _parameters(self, **own: Any) -> Parameters:
        """What both endpoints have; raises `BadRequest`."""
        options = self.stream_options
        if options is not None and not self.stream:
            raise BadRequest(
                "`stream_options` is only allowed when `stream` is true.", param="stream_options"
            )
        return Parameters(
            model=self.model,
            choices=self.n or 1,
            stream=bool(self.stream),
            include_usage=options is not None and options.include_usage,
            usage_per_chunk=options is not None and options.continuous_usage_stats,
            temperature=self.temperature,
            tools=bool(self.tools or self.functions),
            user=self.user or "",
            **own,
        )


class ChatBody(_Generation):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    logprobs: bool | None = None

    def parameters(self) -> Parameters:
        """The one reading of this body; of two output limits the newer field holds, as in vLLM."""
        newer, older = self.max_completion_tokens, self.max_tokens
        return self._parameters(
            max_output_tokens=older if newer is None else newer,
            logprobs=bool(self.logprobs),
            media_parts=sum(_media_parts(message) for message in self.messages),
        )


class CompletionBody(_Generation):
    """`POST /v1/completions`; `max_completion_tokens` is no field of it."""

    prompt: str | list[str] | list[int] | list[list[int]] = Field(min_length=1)
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = None

    def parameters(self) -> Parameters:
        """The one reading of this body; raises `BadRequest`."""
        limit = self.max_tokens
        if limit == 0 and not self.echo:
            raise BadRequest("`max_tokens`: 0 is for `echo` only.", param="max_tokens")
        choices, prompts = self.n or 1, _prompts(self.prompt)
        if self.best_of not in (None, choices):
            raise BadRequest(
                "`best_of`: no engine here chooses among answers; set `n`, or leave it out.",
                param="best_of",
            )
        if choices * prompts > MAX_SEQUENCES:
            raise BadRequest(
                f"`prompt`: {prompts:,} prompts with `n` {choices} are more than the "
                f"{MAX_SEQUENCES:,} answers that one request may have.",
                param="prompt",
            )
        return self._parameters(
            prompts=prompts,
            # An engine makes one token, and drops it, where only the echo is wanted.
            max_output_tokens=limit if limit is None else max(limit, 1),
            logprobs=self.logprobs is not None,
            echo=bool(self.echo),
        )


Token = Annotated[int, Field(strict=True, ge=0)]


class EmbeddingsBody(WireModel):
    """`POST /v1/embeddings`; `input` is one text or a list of texts, each perhaps as token ids."""

    model: str = Field(min_length=1, max_length=200)
    input: str | list[str] | list[Token] | list[list[Token]] = Field(min_length=1)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)


_BODIES: dict[Endpoint, type[ChatBody] | type[CompletionBody]] = {
    Endpoint.CHAT: ChatBody,
    Endpoint.COMPLETION: CompletionBody,
}


def parameters(endpoint: Endpoint, raw: object) -> Parameters:
    """Validate a decoded body and read it, once; raises `BadRequest` naming a wrong field."""
    return check(_BODIES[endpoint], raw).parameters()


def _media_parts(message: Message) -> int:
    """Images and the like; a part without a type is one too, unless it is nothing but text."""
    parts = message.content if isinstance(message.content, list) else []
    return sum(
        part["type"] not in _TEXT_PARTS if "type" in part else set(part) != {"text"}
        for part in parts
    )


def _prompts(prompt: str | list[str] | list[int] | list[list[int]]) -> int:
    """How many prompts there are; token ids are one."""
    return 1 if isinstance(prompt, str) or isinstance(prompt[0], int) else len(prompt)


def normal(body: Mapping[str, object]) -> dict[str, object]:
    """Return the body in one spelling: null fields and empty `stream_options` are absent, and the
    role `developer` is `system`.

    OpenAI's API has most fields nullable, and clients send what they have not set as null.
    `developer` is OpenAI's newer name of `system`; chat templates of open models print its turns
    wrongly or leave them out without a word.
    """
    kept: dict[str, object] = {
        name: _without_nulls(value, _LEVELS) if name in _STRUCTURED else value
        for name, value in body.items()
        if value is not None
    }
    if kept.get("stream_options") == {}:
        del kept["stream_options"]
    if isinstance(messages := kept.get("messages"), list):
        kept["messages"] = [_renamed(message) for message in messages]
    return kept


def _without_nulls(value: object, levels: int) -> object:
    if levels == 0:
        return value
    if isinstance(value, list):
        return [_without_nulls(item, levels - 1) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: item if name in _FREE_FORM else _without_nulls(item, levels - 1)
        for name, item in value.items()
        if item is not None
    }


def _renamed(message: object) -> object:
    if isinstance(message, dict) and message.get("role") == "developer":
        return message | {"role": "system"}
    return message


def check(kind: type[Body], raw: object) -> Body:
    """Validate a decoded JSON body; raises `BadRequest` naming the first wrong field."""
    if not isinstance(raw, dict):
        raise BadRequest("The body must be a JSON object.")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # pydantic adds the tried member of a union to the path, which is no field of the body.
        path = [str(part) for part in first["loc"] if not _UNION_MEMBER.fullmatch(str(part))]
        field = ".".join(path)
        raise BadRequest(f"`{field}`: {allowed(first)}.", param=field) from None
