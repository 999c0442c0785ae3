"""Read the payer of a request from its headers and from the record of its virtual key.

Promises: pure; what a key's record says of tenant and team cannot be changed by any header; a
header may add tags, and name a team where the key has none. A credential that is no virtual key
is a tenant of its own, by its hash, so that two of them never share an answer; which header carries
it makes no difference (`accounts.credential`).
"""

import hashlib
from collections.abc import Mapping

from accounts.credential import credential
from accounts.keys import Key
from accounts.limits import Payer
from core.errors import BadRequest

MAX_WORD_CHARS = 100
_MAX_WORDS = 16
ANONYMOUS = "anonymous"


def tenant(headers: Mapping[str, str]) -> str:
    """A hash of the credential, never the credential itself; raises as `credential` does."""
    return tenant_of(credential(headers))


def tenant_of(secret: str) -> str:
    """The tenant that a secret names by its hash; without one the tenant is anonymous."""
    return "key-" + hashlib.sha256(secret.encode()).hexdigest()[:16] if secret else ANONYMOUS


def words(headers: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The words of the header `name`; raises `BadRequest` for too many or too long ones."""
    found = tuple(sorted({word.strip() for word in headers.get(name, "").split(",")} - {""}))
    if len(found) > _MAX_WORDS or any(len(word) > MAX_WORD_CHARS for word in found):
        raise BadRequest(
            f"`{name}` may have {_MAX_WORDS} tags of {MAX_WORD_CHARS} characters at most.",
            param=name,
        )
    return found


def without_key(headers: Mapping[str, str]) -> Payer:
    """The payer of a request without a virtual key; raises as `credential` and `words` do."""
    return of_secret(credential(headers), headers)


def of_secret(secret: str, headers: Mapping[str, str]) -> Payer:
    """The payer of a secret that is no virtual key, or of none; raises as `words` does."""
    who = tenant_of(secret)
    return Payer(who, who, _team(headers), words(headers, "x-hansom-tags"))


def with_key(key: Key, headers: Mapping[str, str]) -> Payer:
    """The payer of a request with a virtual key; raises `BadRequest` as `words` does."""
    tags = {*key.tags, *words(headers, "x-hansom-tags")}
    return Payer(key.tenant, key.id, key.team or _team(headers), tuple(sorted(tags)), key)


def _team(headers: Mapping[str, str]) -> str:
    return headers.get("x-hansom-team", "")[:MAX_WORD_CHARS]
