"""`hansom keys`: virtual keys in the running system's Redis.

Promises: a secret is printed when it is made and never again; of two people who change one key at
the same time, the second is told to look again.
"""

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import typer
from pydantic import ValidationError

from accounts.keys import Key, new_key, revoked, rotated
from accounts.limits import LimitState, Payer, applicable
from accounts.redis_store import RedisAccounts
from accounts.windows import told
from cli.cache_redis import run, url_of
from core.errors import HansomError
from core.settings.accounts import BudgetLimit, Rules
from core.settings.allowed import allowed
from core.settings.load import Settings

_DAY_S = 86_400.0
_MAX_WORD_CHARS = 100
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class WantedKey:
    """What the command line says of a new key."""

    tenant: str
    name: str = ""
    team: str = ""
    tags: tuple[str, ...] = ()
    expires_days: float | None = None
    hard: tuple[str, ...] = ()
    soft: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    def made(self, now_s: float) -> tuple[Key, str]:
        """The key and its secret; raises `typer.BadParameter`."""
        for word in (self.tenant, self.team, self.name, *self.tags):
            if len(word) > _MAX_WORD_CHARS or "," in word or not word.isprintable():
                raise typer.BadParameter(f"{word!r} is longer than 100 characters, or not plain.")
        if not self.tenant.strip():
            raise typer.BadParameter("--tenant must not be empty.")
        expires_s = None if self.expires_days is None else now_s + self.expires_days * _DAY_S
        return new_key(
            self.tenant, now_s, name=self.name, team=self.team, tags=self.tags,
            expires_s=expires_s, rules=self.rules(),
        )  # fmt: skip

    def rules(self) -> Rules:
        """Its own limits; raises `typer.BadParameter`."""
        try:
            budgets = [BudgetLimit.read(words, "hard") for words in self.hard]
            budgets += [BudgetLimit.read(words, "soft") for words in self.soft]
        except ValidationError as error:
            raise typer.BadParameter(allowed(error.errors()[0])) from None
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        return Rules(
            budgets=tuple(budgets),
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            concurrency=self.concurrency,
        )


def create(settings: Settings, wanted: WantedKey, *, as_json: bool) -> None:
    """Keep a new key and print its secret."""
    key, secret = wanted.made(time.time())

    async def keep(store: RedisAccounts) -> None:
        if key.name and any(one.name == key.name for one in await store.keys()):
            raise HansomError(f"There is a key named {key.name!r} already.")
        await _changed(store, None, key)

    _with(settings, keep)
    _print(key, secret, as_json=as_json)


def revoke(settings: Settings, which: str, *, as_json: bool) -> None:
    """Revoke a key, which may be revoked already."""

    async def change(store: RedisAccounts) -> Key:
        key = _found(await store.keys(), which)
        after = revoked(key, time.time())
        await _changed(store, key, after)
        return after

    key = _with(settings, change)
    if as_json:
        typer.echo(json.dumps(as_dict(key)))
    else:
        typer.echo(f"{key.id} of tenant {key.tenant} is revoked.")


def rotate(settings: Settings, which: str, grace_s: float, *, as_json: bool) -> None:
    """Give a key another secret and print it."""

    async def change(store: RedisAccounts) -> tuple[Key, str]:
        key = _found(await store.keys(), which)
        if key.revoked_s is not None:
            raise HansomError(f"{key.id} was revoked, and a revoked key stays so. Make a new one.")
        after, secret = rotated(key, time.time(), grace_s)
        await _changed(store, key, after)
        return after, secret

    key, secret = _with(settings, change)
    _print(key, secret, as_json=as_json)


def show(settings: Settings, tenant: str | None, *, as_json: bool) -> None:
    """Print keys and how the limits stand that hold for them."""
    now_s = time.time()

    async def read(store: RedisAccounts) -> list[tuple[Key, list[LimitState]]]:
        found = [key for key in await store.keys() if tenant in (None, key.tenant)]
        return [(key, await _standings(store, settings, key, now_s)) for key in found]

    found = _with(settings, read)
    if as_json:
        told_ = [
            as_dict(key) | {"limits": [_limit(one) for one in standings]}
            for key, standings in found
        ]
        typer.echo(json.dumps(told_))
    else:
        typer.echo("\n".join(_told(key, standings, now_s) for key, standings in found))


def as_dict(key: Key) -> dict[str, Any]:
    """A key for machines, without its hashes."""
    names = ("id", "name", "tenant", "team", "created_s", "expires_s", "revoked_s")
    rules = key.rules.model_dump(mode="json", exclude_defaults=True)
    return {name: getattr(key, name) for name in names} | {"tags": [*key.tags], "rules": rules}


async def _standings(
    store: RedisAccounts, settings: Settings, key: Key, now_s: float
) -> list[LimitState]:
    payer = Payer(key.tenant, key.id, key.team, key.tags, key)
    return await store.standings(key.tenant, applicable(settings.accounts, payer), now_s)


def _limit(one: LimitState) -> dict[str, Any]:
    limit = one.limit
    return {
        "of": limit.kind, "name": limit.name, "measure": limit.measure.value,
        "window": limit.window and limit.window.value, "hard": limit.hard, "soft": limit.soft,
        "spent": one.spent, "reserved": one.held, "resets_s": one.resets_s,
    }  # fmt: skip


def _told(key: Key, standings: Sequence[LimitState], now_s: float) -> str:
    """One key as a few lines."""
    of = [f"tenant {key.tenant}", f"team {key.team}" if key.team else "", ", ".join(key.tags)]
    facts = "; ".join(one for one in (*of, _state(key, now_s)) if one)
    lines = [f"{key.id}  {key.name}".rstrip(), facts, *(_words(one) for one in standings)]
    return "\n  ".join(lines)


def _words(one: LimitState) -> str:
    """`4.000000 of 10.000000 USD a day of tenant acme; resets 2026-11-21T00:00:00Z`."""
    limit, bounds = one.limit, []
    window = f" a {limit.window}" if limit.window else ""
    of = "" if limit.kind == "key" else f" of {limit.kind} {limit.name}"
    if limit.hard is not None:
        bounds.append(f"{limit.shown(limit.hard)}{window}")
    if limit.soft is not None:
        bounds.append(f"{limit.shown(limit.soft)}{window} (soft)")
    resets = f"; resets {told(one.resets_s)}" if one.resets_s else ""
    taken = limit.shown(one.spent + one.held).partition(" ")[0]
    return f"{taken} of {', '.join(bounds)}{of}{resets}"


def _state(key: Key, now_s: float) -> str:
    if key.revoked_s is not None:
        return f"revoked {told(key.revoked_s)}"
    if key.expires_s is None:
        return "active"
    return f"{'active until' if key.expires_s > now_s else 'expired'} {told(key.expires_s)}"


def _print(key: Key, secret: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(as_dict(key) | {"secret": secret}))
        return
    typer.echo(f"{secret}\n\nThe secret of {key.id}, tenant {key.tenant}. It is not kept: copy it.")


def _found(keys: Sequence[Key], which: str) -> Key:
    found = [key for key in keys if key.id == which] or [key for key in keys if key.name == which]
    if len(found) != 1:
        raise HansomError(f"There is no key {which!r}. `hansom keys list` has them all.")
    return found[0]


async def _changed(store: RedisAccounts, before: Key | None, after: Key) -> None:
    if not await store.change_key(before, after):
        raise HansomError(
            f"Another process changed {after.id} at this moment. Look, and try again."
        )


def _with(settings: Settings, work: Callable[[RedisAccounts], Awaitable[Result]]) -> Result:
    url = url_of(settings)

    async def done() -> Result:
        store = RedisAccounts(url)
        try:
            return await work(store)
        finally:
            await store.close()

    return run(url, done())
