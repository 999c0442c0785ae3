"""Build the scope of a request: the callers that may share answers, which no similarity crosses.

Promises: two requests are in one scope only if tenant, endpoint, policy version and everything of
the request but the words of its last user message are the same: system prompt, earlier turns,
tools, format, limits, stops. A field that is not known here is part of the scope.
Not covered: which of the scope's entries may answer (`cache.semantic.consensus`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cache.exact.key import canonical, exact_key

# Stands where the words were; a prompt that says just this has them replaced all the same.
_PLACE = "\x00prompt\x00"


@dataclass(frozen=True, slots=True)
class Scope:
    """The key under which entries are looked up, and the words that are compared."""

    key: str
    text: str


def scope(
    body: Mapping[str, object], *, endpoint: str, tenant: str, policy_version: str
) -> Scope | None:
    """The scope of a request whose last message is a user's text; None for any other.

    `policy_version` must name the embedder, too, once vectors are stored under the key. Raises
    `BadRequest` for a body nested too deeply.
    """
    plain = canonical(body, endpoint)
    messages = plain.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    *earlier, last = messages
    if not isinstance(last, dict) or last.get("role") != "user":
        return None
    text = last.get("content")
    if not isinstance(text, str) or not text.strip():
        return None
    rest = {**plain, "messages": [*earlier, {**last, "content": _PLACE}]}
    key = scope_key(rest, endpoint=endpoint, tenant=tenant, policy_version=policy_version)
    return Scope(key, text)


def scope_key(
    rest: Mapping[str, object], *, endpoint: str, tenant: str, policy_version: str
) -> str:
    """The key of a request without its words; never equal to an exact key."""
    return exact_key(
        rest, endpoint=f"{endpoint}#scope", tenant=tenant, policy_version=policy_version
    ).replace("hansom:exact:", "hansom:scope:", 1)
