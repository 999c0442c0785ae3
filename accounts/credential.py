"""Read a request's credential from the headers that may carry it.

Promises:
- The same secret is the same credential, whichever header carries it.
- A credential that is sent and cannot be read is refused; it never counts as none.
- No error message contains any part of a credential.
Not covered: whose credential it is (`accounts.payer`, `accounts.keys`).
"""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from core.errors import BadRequest, InvalidKey

AUTHORIZATION = "authorization"
# `api-key` is Azure's, `x-api-key` Anthropic's, `x-goog-api-key` Google's; other gateways have more
# prefixes. `apikey` is Kong's.
_SUFFIXES = ("api-key", "apikey", "api_key")
_OTHERS = frozenset({AUTHORIZATION, "ocp-apim-subscription-key", "x-auth-token"})
_QUERY = frozenset({"key", "token", "access_token", "subscription-key", "authorization"})
_BLANKS = " \t"


def received(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; different values of a repeated one are joined by a comma.

    HTTP reads a repeated header so (RFC 9110, 5.3). Taking one of them would let the rest pass
    unread: a second credential, a `cache-control: no-store` before a `max-age`.
    """
    pairs = list(pairs)
    sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    if len(sent) == len(pairs):
        return sent
    values: dict[str, dict[str, None]] = {}
    for name, value in pairs:
        values.setdefault(name.decode("latin-1"), {})[value.decode("latin-1")] = None
    return {name: ", ".join(distinct) for name, distinct in values.items()}


def credential(headers: Mapping[str, str]) -> str:
    """The one secret of a request, empty when it sends none.

    Raises `InvalidKey` for one that cannot be read, and `BadRequest` for two different ones.
    """
    names = [name for name in headers if name in _OTHERS or name.endswith(_SUFFIXES)]
    if len(names) == 1:
        return _secret(names[0], headers[names[0]])
    found = {_secret(name, headers[name]) for name in names}
    if len(found) > 1:
        raise BadRequest(
            "Two different credentials were sent. Send one, as `Authorization: Bearer <key>`.",
            code="conflicting_credentials",
        )
    return found.pop() if found else ""


def refuse_in_query(query: bytes) -> None:
    """Raise `InvalidKey` for a credential in the address: addresses are logged and kept."""
    if not query:
        return
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.lower() in _QUERY or name.lower().endswith(_SUFFIXES):
            raise unreadable("is not taken from the address, because addresses are logged")


def unreadable(why: str) -> InvalidKey:
    """The error for a credential of no use, which says how to send one; `why` follows its name."""
    return InvalidKey(
        f"The API key {why}. Send `Authorization: Bearer <key>`, or the key alone in `api-key` or "
        "`x-api-key`.",
        code="invalid_api_key",
    )


def _secret(name: str, value: str) -> str:
    value = value.strip(_BLANKS)
    if name == AUTHORIZATION:
        scheme, _, secret = value.partition(" ")
        secret = secret.lstrip(_BLANKS)
        if scheme.lower() != "bearer" or not _is_word(secret):
            raise unreadable("in `authorization` cannot be read: it is not `Bearer` and a key")
        return secret
    if not _is_word(value):
        raise unreadable(
            f"in `{name}` cannot be read: it is empty, or not one word of ASCII characters"
        )
    return value


def _is_word(text: str) -> bool:
    """Whether a text is one word of visible ASCII characters."""
    return text != "" and text.isascii() and text.isprintable() and " " not in text
