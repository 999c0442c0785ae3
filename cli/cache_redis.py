"""The running system's Redis, and whose answers in it a command is about.

Promises: a Redis that does not answer is one line that says what to do. Tenants are names, as the
ledger has them; in Redis they are hashes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import TypeVar

import typer
from redis.exceptions import RedisError

from cache.admin.key_names import owner_tag
from cache.exact.key import owner
from core.errors import HansomError
from core.settings.load import Settings
from deployments.machine import environment

Result = TypeVar("Result")


def url_of(settings: Settings) -> str:
    """The settings' Redis, else the one that `hansom serve` starts under its home."""
    own = environment.home() / "run" / "redis.sock"
    return settings.cache.redis_url or f"unix://{own}"


def run(url: str, question: Awaitable[Result]) -> Result:
    """The answer of a coroutine that asks this Redis; raises `HansomError` when it is away."""

    async def asked() -> Result:
        return await question

    try:
        return asyncio.run(asked())
    except (RedisError, OSError) as error:
        raise away(url, error) from error


def away(url: str, error: Exception) -> HansomError:
    """The error of a Redis that does not answer; its password is not in it."""
    where = re.sub(r"://[^@/]*@", "://***@", url)
    why = re.sub(r"://[^@/]*@", "://***@", str(error)).rstrip(".")
    return HansomError(
        f"The Redis at {where} does not answer as it should ({why}). Is Hansom running? If it is, "
        "give --config the settings file that it was started with, or set cache.redis_url."
    )


def owner_of(settings: Settings, tenant: str, team: str = "", key: str = "") -> str:
    """Return the owner whose answers this tenant's calls share under `cache.scope`."""
    return owner(settings.cache.scope, tenant=tenant, team=team, key=key or tenant)


def own_hash(settings: Settings, tenant: str | None, team: str) -> str | None:
    """The hash of a tenant's own keys, None without a tenant.

    Wrong usage where answers are shared among all: no tenant has answers of its own.
    """
    if tenant is None:
        if team:
            raise typer.BadParameter("--team needs --tenant, whose team it is.")
        return None
    if settings.cache.scope == "shared":
        raise typer.BadParameter(
            "cache.scope is `shared`: all tenants' answers are one, no tenant has its own."
        )
    return owner_tag(owner_of(settings, tenant, team))
