"""`hansom cache purge`: takes answers back, by tenant, tag, entry and age, or all.

Promises: everything that is given must hold; nothing goes without a choice and a yes. Gateways may
go on serving: at worst they miss.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

import typer

from cache.admin.key_names import KeyKind, read
from cache.admin.purge import Selection, duration_s
from cache.admin.redis_purge import Purged, RedisPurge
from cli.cache_redis import own_hash, run, url_of
from cli.prompt import confirm
from core.settings.load import Settings


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the command line says; `entry` is a key as `hansom cache explain` prints it."""

    tenant: str | None = None
    team: str = ""
    tag: str | None = None
    entry: str | None = None
    older_than: str | None = None
    everything: bool = False

    @property
    def words(self) -> str:
        """For the question."""
        whose = f"of tenant {self.tenant}" if self.tenant else "of all tenants"
        parts = [whose, f"(team {self.team})" if self.team else ""]
        parts += [f"with tag {self.tag}" if self.tag else ""]
        parts += [f"at {self.entry}" if self.entry else ""]
        parts += [f"older than {self.older_than}" if self.older_than else ""]
        return " ".join(part for part in parts if part)

    def selection(self, settings: Settings, now_s: float) -> Selection:
        """The same in Redis's terms; raises `typer.BadParameter` for what cannot be meant."""
        given = (self.tenant, self.tag, self.entry, self.older_than)
        if not self.everything and not any(given):
            raise typer.BadParameter(
                "Say what to remove: --tenant, --tag, --entry, --older-than, or --all."
            )
        if self.everything and any(given):
            raise typer.BadParameter("--all goes with nothing else: each of the others means less.")
        return Selection(
            own_hash(settings, self.tenant, self.team),
            self.tag or None,
            _keys(self.entry) if self.entry else None,
            now_s - _seconds(self.older_than) if self.older_than else None,
        )


def purge(settings: Settings, chosen: Chosen, *, yes: bool, as_json: bool) -> None:
    """Remove what is chosen and tell how much it was."""
    selection = chosen.selection(settings, time.time())
    if not yes:
        confirm(f"Remove the cached answers {chosen.words}?")
    url = url_of(settings)
    purged = run(url, _remove(url, selection))
    if as_json:
        typer.echo(json.dumps(asdict(purged)))
    else:
        typer.echo(
            f"Removed {purged.answers:,} exact answers and {purged.entries:,} semantic entries."
        )


async def _remove(url: str, selection: Selection) -> Purged:
    purge = RedisPurge(url, selection)
    try:
        return await purge.run()
    finally:
        await purge.close()


def _keys(entry: str) -> frozenset[str]:
    name = read(entry.encode("utf-8", "surrogateescape"))
    if name is None or name.kind not in (KeyKind.ANSWER, KeyKind.ENTRY):
        raise typer.BadParameter(
            f"{entry!r} is no key of an answer or entry (hansom:exact:… or hansom:entry:…), as "
            "`hansom cache explain` prints them."
        )
    return frozenset([entry])


def _seconds(text: str) -> float:
    try:
        return duration_s(text)
    except ValueError as error:
        raise typer.BadParameter(f"--older-than: {error}.") from None
