"""Find the tenant of a key for `hansom cache explain`, as the gateway does."""

import time

from accounts.keys import Key, hashed, is_virtual
from accounts.limits import Payer
from accounts.payer import with_key, without_key
from accounts.redis_store import RedisAccounts
from cli.cache_redis import run
from core.errors import HansomError
from core.settings.load import Settings


def caller(settings: Settings, url: str, key: str | None, tenant: str | None, team: str) -> Payer:
    """The payer of a request with this key, or the tenant that is named instead.

    `hansom ask` with the same key, or with none, is the same payer. Raises `HansomError` for a
    virtual key that would be refused.
    """
    if tenant is not None:
        return Payer(tenant, tenant, team)
    headers = {"x-hansom-team": team} if team else {}
    if not key:
        if settings.accounts.keys == "required":
            raise HansomError("accounts.keys is `required`: name a --key, or a --tenant.")
        return without_key(headers)
    headers["authorization"] = f"Bearer {key}"
    if not is_virtual(key):
        return without_key(headers)
    record, sha256 = run(url, _find(url, hashed(key))), hashed(key)
    why = "is not known" if record is None else record.refusal(sha256, time.time())
    if record is None or why:
        raise HansomError(f"The key {why}: `hansom keys list` has all keys.")
    return with_key(record, headers)


async def _find(url: str, sha256: str) -> Key | None:
    store = RedisAccounts(url)
    try:
        return await store.find_key(sha256)
    finally:
        await store.close()
