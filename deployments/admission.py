"""Admission: from an HTTP request to a `Call`, or a refusal that says why.

Pure apart from the in-flight counter. Not covered: budgets and keys, which come with the ledger's
own issue; today a tenant is the hash of the bearer token, so that two keys never share an answer.
"""

import hashlib
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

import orjson

from core.call import Call, Endpoint, Risk, Value
from core.errors import BadRequest, Overloaded, UnknownModel
from core.ids import new_id
from core.settings import Settings
from core.wire import ChatBody, CompletionBody, check

_MAX_WORD_CHARS = 100
_MAX_TAGS = 16
AUTO = "auto"
ANONYMOUS = "anonymous"
Choice = TypeVar("Choice", bound=StrEnum)


def request_id(headers: Mapping[str, str]) -> str:
    """The `x-request-id`, which `deployments.doorstep` has made valid, else a new one."""
    return headers.get("x-request-id") or new_id()


def tenant(headers: Mapping[str, str]) -> str:
    """Who pays: a hash of the bearer token, never the token itself."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return ANONYMOUS
    return "key-" + hashlib.sha256(token.strip().encode()).hexdigest()[:16]


def risk(headers: Mapping[str, str]) -> Risk:
    """The class of `x-hansom-risk`; raises `BadRequest` for an unknown one."""
    return _choice(headers, "x-hansom-risk", Risk, Risk.NORMAL)


def value(headers: Mapping[str, str]) -> Value:
    """The worth of `x-hansom-value`; raises `BadRequest` for an unknown one."""
    return _choice(headers, "x-hansom-value", Value, Value.NORMAL)


def deadline(headers: Mapping[str, str]) -> float | None:
    """Seconds of `x-hansom-deadline-s`; raises `BadRequest` for what is no positive number."""
    given = headers.get("x-hansom-deadline-s")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        name = "x-hansom-deadline-s"
        raise BadRequest(f"`{name}` must be a number of seconds; got {given!r}.", param=name)
    return seconds


def tags(headers: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The words of the header `name`; raises `BadRequest` for too many or too long ones."""
    found = tuple(sorted({word.strip() for word in headers.get(name, "").split(",")} - {""}))
    if len(found) > _MAX_TAGS or any(len(tag) > _MAX_WORD_CHARS for tag in found):
        raise BadRequest(
            f"`{name}` may have {_MAX_TAGS} tags of {_MAX_WORD_CHARS} characters at most.",
            param=name,
        )
    return found


def _choice(headers: Mapping[str, str], name: str, kind: type[Choice], default: Choice) -> Choice:
    given = headers.get(name)
    if given is None:
        return default
    try:
        return kind(given)
    except ValueError:
        allowed = ", ".join(kind)
        raise BadRequest(f"`{name}` must be one of {allowed}; got {given!r}.", param=name) from None


def decode(raw: bytes) -> object:
    """The body as JSON; raises `BadRequest` with the place of the mistake."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None


class Admission:
    """What one gateway replica lets in."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.limits
        self._models = {AUTO: AUTO}
        for tier in settings.tiers:
            self._models[tier.name] = self._models[tier.model] = tier.name
        self.in_flight = 0

    def enter(self) -> None:
        """Take one of `limits.max_in_flight` places; raises `Overloaded` when all are taken."""
        if self.in_flight >= self._limits.max_in_flight:
            raise Overloaded(
                f"{self.in_flight} requests are in flight, the limit of this gateway. "
                "Try again shortly.",
                code="too_many_in_flight",
                retry_after_s=self._limits.retry_after_s,
            )
        self.in_flight += 1

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1

    def admit(
        self, endpoint: Endpoint, raw: bytes, headers: Mapping[str, str], id_: str, now_s: float
    ) -> Call:
        """Check the body as far as the gateway reads it; raises `BadRequest`, `UnknownModel`."""
        body = decode(raw)
        kind = ChatBody if endpoint is Endpoint.CHAT else CompletionBody
        checked = check(kind, body)
        assert isinstance(body, dict)
        self.tier_of(checked.model)
        options = checked.stream_options
        if options is not None and not checked.stream:
            raise BadRequest(
                "`stream_options` is only allowed when `stream` is true.", param="stream_options"
            )
        who = tenant(headers)
        return Call(
            call_id=new_id(),
            request_id=id_,
            endpoint=endpoint,
            tenant=who,
            requested=checked.model,
            body=body,
            stream=bool(checked.stream),
            include_usage=bool(options and options.include_usage),
            arrived_s=now_s,
            deadline_s=self._limits.request_timeout_s,
            risk=risk(headers),
            value=value(headers),
            ttft_deadline_s=deadline(headers),
            domain=headers.get("x-hansom-domain", "")[:_MAX_WORD_CHARS],
            team=headers.get("x-hansom-team", "")[:_MAX_WORD_CHARS],
            key=who,
            cache_tags=tags(headers, "x-hansom-cache-tags"),
            tags=tags(headers, "x-hansom-tags"),
            prompt_version=headers.get("x-hansom-prompt-version", "")[:_MAX_WORD_CHARS],
        )

    def tier_of(self, model: str) -> str:
        """`auto` or the tier that a model field names; raises `UnknownModel`."""
        if (found := self._models.get(model)) is None:
            names = ", ".join(f"`{name}`" for name in self._models)
            raise UnknownModel(
                f"The model `{model}` does not exist. Use one of {names}.",
                param="model",
                code="model_not_found",
            )
        return found
