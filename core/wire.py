"""The OpenAI request bodies, as far as the gateway itself must read them.

Only what routing, caching and accounting need is declared; every other field passes through to
the engine, whose own OpenAI classes check it. Not covered: responses, which are passed on.
"""

import re
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import BadRequest

EMBEDDING_MODEL = "all-MiniLM-L6-v2"
EMBEDDING_SIZE = 384
Body = TypeVar("Body", bound=BaseModel)


_UNION_MEMBER = re.compile(r"(str|int|list|dict)(\[.*\])?")


class Wire(BaseModel):
    """A body from outside: what is not declared passes through."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class StreamOptions(Wire):
    """`stream_options`."""

    include_usage: bool = False


class Message(Wire):
    """One turn; `content` is text, content parts, or absent beside tool calls."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class _Generation(Wire):
    model: str = Field(min_length=1, max_length=200)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    n: int | None = Field(None, ge=1, le=128)
    max_tokens: int | None = Field(None, ge=1)
    user: str | None = None


class ChatBody(_Generation):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)


class CompletionBody(_Generation):
    """`POST /v1/completions`."""

    prompt: str | list[str] | list[int] | list[list[int]]


class EmbeddingsBody(Wire):
    """`POST /v1/embeddings`; `input` is one text or a list of texts."""

    model: str = Field(min_length=1, max_length=200)
    input: str | list[str] = Field(min_length=1)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)


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
        raise BadRequest(f"`{field}`: {first['msg']}.", param=field) from None
