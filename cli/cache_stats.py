"""`hansom cache stats`: what lies in Redis for the cache, whose, how large, and how well it does.

Promises: reads only. Sizes are estimates from a sample; with `--json` one object and nothing else.
"""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from cache.admin.key_names import KeyKind, owner_tag
from cache.admin.redis_census import CensusRead, take
from cache.admin.redis_facts import RedisFacts, refusal, without_semantic
from cache.error_budget.budget import ErrorBudget, State, level
from cache.error_budget.redis_budget import budget_key
from cli.cache_redis import own_hash, owner_of, run, url_of
from cli.tables import show_table, terminal
from core.settings.load import Settings
from deployments.gateway.admission import ANONYMOUS

_SHOWN = 20
_NAMES = {
    KeyKind.ANSWER: "exact answers",
    KeyKind.ENTRY: "semantic entries",
    KeyKind.SCOPE: "scopes",
}


def stats(settings: Settings, tenant: str | None, team: str, *, as_json: bool) -> None:
    """Print the census of all owners, or of one tenant."""
    url = url_of(settings)
    found = run(url, take(url, own_hash(settings, tenant, team)))
    told = as_dict(found, settings, tenant, team)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        show(told, found)


def as_dict(found: CensusRead, settings: Settings, tenant: str | None, team: str) -> dict[str, Any]:
    """One object; owners and classes are hashes, with a name where the settings tell one."""
    names = _owners(settings, tenant, team)
    owners = [
        {"owner": owner, "name": names.get(owner, ""), **_counts(counts)}
        for owner, counts in found.census.owners()
    ]
    server = found.server
    return {
        "totals": {
            _NAMES[kind].replace(" ", "_"): {"count": found.census.total(kind), "bytes": size}
            for kind, size in found.size_bytes.items()
        },
        "owners": owners,
        "budgets": _budgets(found, settings, names),
        "redis": {
            "version": server.version,
            "used_bytes": server.used_bytes,
            "maxmemory_bytes": server.maxmemory_bytes,
            "eviction": server.eviction,
            "evicted_keys": server.evicted_keys,
            "vector_sets": server.vector_sets,
        },
    }


def show(told: dict[str, Any], found: CensusRead) -> None:
    """The same for people."""
    console = terminal()
    table = Table("what", "count", "about")
    for name, one in told["totals"].items():
        table.add_row(name.replace("_", " "), f"{one['count']:,}", _size(one["bytes"]))
    show_table(table, console)
    if told["owners"]:
        table = Table("owner", "answers", "entries", "scopes")
        for one in told["owners"][:_SHOWN]:
            shown = one["name"] or one["owner"]
            table.add_row(shown, *(f"{one[kind]:,}" for kind in ("answers", "entries", "scopes")))
        show_table(table, console)
        if (more := len(told["owners"]) - _SHOWN) > 0:
            console.print(f"… and {more:,} more owners (--json has all).")
    if told["budgets"]:
        table = Table("owner", "domain", "level", "checked", "wrong", "reported")
        for one in told["budgets"]:
            table.add_row(
                one["name"] or one["owner"], one["domain"] or one["class"], one["level"],
                f"{one['checked']:,}", f"{one['wrong']:,}", f"{one['reported']:,}",
            )  # fmt: skip
        show_table(table, console)
    _show_server(console, found)


def _show_server(console: Console, found: CensusRead) -> None:
    server = found.server
    limit = f"of {_size(server.maxmemory_bytes)}" if server.maxmemory_bytes else "without a limit"
    policy, sets = server.eviction or "policy unknown", "yes" if server.vector_sets else "no"
    console.print(
        f"Redis {server.version}: {_size(server.used_bytes)} {limit}, {policy}, "
        f"{server.evicted_keys:,} keys evicted, vector sets {sets}."
    )
    facts = RedisFacts(server.version, server.eviction, server.maxmemory_bytes, server.vector_sets)
    for reason in (refusal(facts), without_semantic(facts)):
        if reason:
            console.print(reason, markup=False)


def _counts(counts: dict[KeyKind, int]) -> dict[str, int]:
    return {
        "answers": counts[KeyKind.ANSWER],
        "entries": counts[KeyKind.ENTRY],
        "scopes": counts[KeyKind.SCOPE],
    }


def _owners(settings: Settings, tenant: str | None, team: str) -> dict[str, str]:
    """Names of owners' hashes: of the tenant asked for, of the settings', and of who has none."""
    if settings.cache.scope == "shared":
        return {owner_tag(owner_of(settings, "")): "all tenants"}
    known = [ANONYMOUS, *settings.cache.tenants]
    names = {owner_tag(owner_of(settings, name)): name for name in known}
    if tenant is not None:
        names[owner_tag(owner_of(settings, tenant, team))] = f"{tenant} {team}".strip()
    return names


def _budgets(found: CensusRead, settings: Settings, names: dict[str, str]) -> list[dict[str, Any]]:
    domains = {_class(name): name for name in ("", *settings.cache.domains)}
    told = []
    for (owner, class_), state in sorted(found.budgets.items()):
        name = domains.get(class_)
        limit = settings.cache.rules(names.get(owner, ""), name or "").wrong_share
        told.append(
            {
                "owner": owner,
                "name": names.get(owner, ""),
                "class": class_,
                "domain": "(none)" if name == "" else name or "",
                **_record(state, ErrorBudget(limit)),
            }
        )
    return told


def _record(state: State, budget: ErrorBudget) -> dict[str, Any]:
    now = level(state, budget)
    record = state.records[now]
    return {
        "level": now.value,
        "checked": record.all.checked,
        "wrong": record.all.wrong,
        "served": record.served,
        "reported": record.told,
    }


def _class(domain: str) -> str:
    """The hash under which a domain's budget lies."""
    return budget_key("", domain).rpartition(":")[2]


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
