"""Build the exact key: a hash of every field that can change the answer.

Promised: two requests get the same key only if tenant, endpoint, policy version and every field
that can change the answer are the same; ways of writing one meaning that OpenAI clients differ in
get one key. A field this module does not know is part of the key: forgetting one costs a hit,
never a wrong answer.
Not covered: whether a request may use the cache at all (`cache.exact.eligible`), and requests that
differ in wording only.
"""

import hashlib
import json
from collections.abc import Mapping

import orjson

from core.errors import BadRequest
from core.settings.cache import Scope

KEY_PREFIX = "hansom:exact:"

# How the answer travels, who asked and how soon it is served; never what is answered.
# `cache_salt` is deliberately not here: a client that salts its prefixes wants to be apart.
FIELDS_WITHOUT_EFFECT = frozenset(
    {
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "priority",
        "request_id",
        "session_id",
    }
)

# Their numbers and nulls reach the prompt through the chat template, so `0` and `0.0`, or null
# and absent, can be different prompts.
_PROMPT_FIELDS = frozenset(
    {
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "response_format",
        "structured_outputs",
        "documents",
        "chat_template_kwargs",
    }
)


def exact_key(
    body: Mapping[str, object], *, endpoint: str, tenant: str, policy_version: str
) -> str:
    """`hansom:exact:{<tenant hash>}:<sha256>`; the braces keep a tenant in one cluster slot.

    `tenant` is whoever shares answers: see `owner`.
    `policy_version` must change whenever the same body could be answered otherwise: router
    weights, tier, model revision, or anything the gateway itself adds to a body.
    Raises `BadRequest` for a body nested too deeply to be written as JSON.
    """
    known = [1, endpoint, tenant, policy_version, canonical(body, endpoint)]
    owner = hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{KEY_PREFIX}{{{owner}}}:{hashlib.sha256(_json(known)).hexdigest()}"


def owner(scope: Scope, *, tenant: str, team: str, key: str) -> str:
    """Return the owner of a scope: its tenant, or a team or key of that tenant.

    Only `shared`, which an operator must choose, crosses tenants.
    """
    if scope == "shared":
        return "shared:"
    if scope == "tenant":
        return f"tenant:{tenant}"
    own = team if scope == "team" else key
    return f"{scope}:{len(tenant)}:{tenant}:{own}"


def canonical(body: Mapping[str, object], endpoint: str) -> dict[str, object]:
    """The fields that decide the answer, each in one spelling."""
    plain: dict[str, object] = {}
    for name, value in body.items():
        if value is None or name in FIELDS_WITHOUT_EFFECT:
            continue
        plain[name] = value if name in _PROMPT_FIELDS else _number(value)
    if endpoint.startswith("chat"):
        _one_output_limit(plain)
    if isinstance(messages := plain.get("messages"), list):
        plain["messages"] = [_message(item) for item in messages]
    if isinstance(prompt := plain.get("prompt"), list) and len(prompt) == 1:
        plain["prompt"] = prompt[0] if isinstance(prompt[0], str | list) else prompt
    if isinstance(stop := plain.get("stop"), str):
        plain["stop"] = [stop]
    elif stop == []:
        del plain["stop"]
    if type(plain.get("n")) is int and plain["n"] == 1:
        del plain["n"]
    return plain


def _one_output_limit(plain: dict[str, object]) -> None:
    """`max_tokens` is the old name; where both are given engines read the new one."""
    old = plain.pop("max_tokens", None)
    if old is not None:
        plain.setdefault("max_completion_tokens", old)


def _message(message: object) -> object:
    """Drop nulls; unwrap a content list that is one plain text part."""
    if not isinstance(message, dict):
        return message
    plain = {name: value for name, value in message.items() if value is not None}
    match plain.get("content"):
        case [{"type": "text", "text": str(text), **rest}] if not rest:
            plain["content"] = text
    return plain


def _number(value: object) -> object:
    """`1.0` as `1`, also one level down (`logit_bias`); exact below 2**53 only."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {
            name: _number(item) if isinstance(item, float) else item for name, item in value.items()
        }
    return value


def _json(value: object) -> bytes:
    """Sorted JSON. orjson stops at 254 levels and 64-bit integers; the standard library goes on.

    A body takes the same encoder every time, and the two cannot write the same bytes for
    different bodies: `json` starts with "[1, " where orjson starts with "[1,\"".
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        pass
    try:
        return json.dumps(value, sort_keys=True).encode()
    except (RecursionError, TypeError, ValueError) as error:
        raise BadRequest("The body is nested too deeply or is not JSON.") from error
