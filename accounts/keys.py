"""Virtual keys: secrets that name a payer, and the records behind them.

Promises: a secret has 256 bits from the system's randomness and is told once, when it is made; at
rest there is its SHA-256 only. A slow hash (argon2, bcrypt) is for words that people choose: nobody
finds 256 random bits by trying, however fast a try is, and a slow one would cost every request.
Rotating keeps id, record and counters.
Not covered: where records are kept (`accounts.redis_store`).
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, replace

import msgspec

from core.ids import new_id
from core.settings.accounts import NO_RULES, Rules

PREFIX = "hk-"
_BYTES = 32
_SHAPE = re.compile(r"hk-[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Secret:
    """The hash of one secret of a key; it works until `until_s` (wall), None as long as the key."""

    sha256: str
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """One virtual key; times are wall s, None where they did not happen or will not.

    `tags` are on every call of the key; `rules` are its own limits, beside those of its tenant,
    team and tags.
    """

    id: str
    tenant: str
    name: str = ""
    team: str = ""
    tags: tuple[str, ...] = ()
    created_s: float = 0.0
    expires_s: float | None = None
    revoked_s: float | None = None
    rules: Rules = NO_RULES
    secrets: tuple[Secret, ...] = ()

    def refusal(self, sha256: str, now_s: float) -> str:
        """Why a secret of this key does not work now, in words; empty when it does."""
        if self.revoked_s is not None and self.revoked_s <= now_s:
            return "was revoked"
        if self.expires_s is not None and self.expires_s <= now_s:
            return "has expired"
        for one in self.secrets:
            if one.sha256 == sha256:
                late = one.until_s is not None and one.until_s <= now_s
                return "was replaced by a newer one" if late else ""
        return "is not known"

    @property
    def state(self) -> str:
        """For people; of an expired key `refusal` says so, not this."""
        return "revoked" if self.revoked_s is not None else "active"

    def to_bytes(self) -> bytes:
        """One JSON object."""
        return msgspec.json.encode(_Record.of(self))

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Key":
        """Read what `to_bytes` wrote; raises `ValueError`."""
        try:
            return msgspec.json.decode(raw, type=_Record).key()
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"not a key's record: {error}") from error


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A `Key` as it is written; `rules` as the settings write them."""

    id: str
    tenant: str
    name: str = ""
    team: str = ""
    tags: tuple[str, ...] = ()
    created_s: float = 0.0
    expires_s: float | None = None
    revoked_s: float | None = None
    rules: dict[str, object] = {}
    secrets: tuple[Secret, ...] = ()

    @classmethod
    def of(cls, key: Key) -> "_Record":
        rules = key.rules.model_dump(mode="json", exclude_defaults=True)
        fields = {name: getattr(key, name) for name in cls.__struct_fields__ if name != "rules"}
        return cls(rules=rules, **fields)

    def key(self) -> Key:
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "rules"}
        return Key(rules=Rules.model_validate(self.rules), **fields)


def new_secret() -> str:
    """`hk-` and 43 characters: 256 bits in base64url."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def hashed(secret: str) -> str:
    """SHA-256 of a secret, 64 hex digits: all that is kept of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_virtual(token: str) -> bool:
    """Whether a bearer token says of itself that it is a virtual key."""
    return token.startswith(PREFIX)


def well_formed(token: str) -> bool:
    """Whether it could be one: anything else need not be looked up."""
    return _SHAPE.fullmatch(token) is not None


def new_key(
    tenant: str,
    now_s: float,
    *,
    name: str = "",
    team: str = "",
    tags: tuple[str, ...] = (),
    expires_s: float | None = None,
    rules: Rules = NO_RULES,
) -> tuple[Key, str]:
    """A key and its secret, which nothing else remembers."""
    secret = new_secret()
    key = Key(
        id=f"key_{new_id()}",
        tenant=tenant,
        name=name,
        team=team,
        tags=tuple(sorted(set(tags))),
        created_s=now_s,
        expires_s=expires_s,
        rules=rules,
        secrets=(Secret(hashed(secret)),),
    )
    return key, secret


def rotated(key: Key, now_s: float, grace_s: float = 0.0) -> tuple[Key, str]:
    """The key with a new secret; the old one works for `grace_s` more at most."""
    secret = new_secret()
    kept = [
        replace(one, until_s=min(now_s + grace_s, one.until_s or now_s + grace_s))
        for one in key.secrets
    ]
    alive = [one for one in kept if one.until_s is not None and one.until_s > now_s]
    return replace(key, secrets=(Secret(hashed(secret)), *alive)), secret


def revoked(key: Key, now_s: float) -> Key:
    """The key, of no use from now on; the first time counts."""
    return replace(key, revoked_s=now_s) if key.revoked_s is None else key
