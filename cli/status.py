"""`hansom status`: what runs behind the endpoint, what is wrong, and what to do about it.

Promises: asks the endpoint only, and changes nothing. Exit code 1 while something is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.table import Table

from cli.endpoint import base_url, reason
from cli.tables import show_table
from core.settings.load import Settings, load
from deployments.machine import environment

_TIMEOUT_S = 10.0
_NO_REDIS = "no answer is cached, and limits are not checked"
_NO_LEDGER = "lines wait in Redis until it drains again"


@dataclass(frozen=True, slots=True)
class TierStatus:
    """One tier: `wanted` replicas is None where the number is unknown."""

    name: str
    running: int
    wanted: int | None


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """Something that is wrong, and what to do."""

    what: str
    advice: str


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that is shown; a part is None where the endpoint does not say."""

    url: str
    answers: bool
    ready: bool
    tiers: tuple[TierStatus, ...] = ()
    router: bool | None = None
    redis: bool | None = None
    ledger: bool | None = None
    problems: tuple[StatusProblem, ...] = ()


def status(config: Path, url: str | None, *, as_json: bool) -> None:
    """Print the status; exits with 1 where there is a problem."""
    settings = load(config)
    found = look(url or base_url(settings), settings)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        _show(found)
    raise typer.Exit(int(bool(found.problems)))


def look(url: str, settings: Settings) -> Status:
    """Ask the endpoint for its parts and its scaling."""
    try:
        ready = httpx.get(f"{url}/readyz", timeout=_TIMEOUT_S)
        parts = ready.json()
        scaling = httpx.get(f"{url}/scalez", timeout=_TIMEOUT_S).json()["tiers"]
        return judge(
            url, parts, {name: one.get("target") for name, one in scaling.items()}, settings
        )
    except httpx.HTTPError as error:
        why, advice = reason(error), _elsewhere(url)
    except (ValueError, KeyError, TypeError, AttributeError):
        why = "what answers there is not Hansom"
        advice = "Name Hansom's own address with --url, or set server.port to a free port."
    return Status(url, False, False, problems=(StatusProblem(f"{url}: {why}", advice),))


def judge(
    url: str, parts: Mapping[str, Any], targets: Mapping[str, int | None], settings: Settings
) -> Status:
    """The status that the endpoint's own words come to; pure."""
    fixed = {tier.name: tier.replicas.min for tier in settings.tiers}
    tiers = tuple(
        TierStatus(name, int(one["running_replicas"]), targets.get(name, fixed.get(name)))
        for name, one in parts["tiers"].items()
    )
    problems = [found for tier in tiers if (found := _of_tier(tier))]
    for name, what, advice in (
        ("router", "the router does not answer", "it restarts by itself; look at its log if not"),
        ("redis", f"Redis does not answer: {_NO_REDIS}", "start it, or check cache.redis_url"),
        (
            "ledger",
            f"the ledger does not drain: {_NO_LEDGER}",
            "check its database and the disk",
        ),
    ):
        if not parts[name]:
            problems.append(StatusProblem(what, advice))
    if not parts["ready"] and not problems:
        problems.append(StatusProblem("the endpoint is not ready", "wait, or look at its log"))
    return Status(
        url, True, bool(parts["ready"]), tiers, bool(parts["router"]), bool(parts["redis"]),
        bool(parts["ledger"]), tuple(problems),
    )  # fmt: skip


def _of_tier(tier: TierStatus) -> StatusProblem | None:
    if tier.wanted is None or tier.running >= tier.wanted:
        return None
    return StatusProblem(
        f"tier {tier.name} has {tier.running} of {tier.wanted} replicas",
        "it may be starting; `hansom doctor` says whether this machine holds it, "
        "`hansom scale explain` what the scaling decided",
    )


def _elsewhere(url: str) -> str:
    """What to do when nothing answers: where one runs on this machine, if one does."""
    try:
        note = json.loads((environment.home() / "run" / "serve.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        note = {}
    if note.get("url") not in (None, url):
        return f"Hansom runs at {note['url']} (process {note.get('pid')}): name it with --url."
    if note:
        return f"`hansom serve` (process {note.get('pid')}) may still be starting: wait a moment."
    return "Start it with `hansom serve`, or name another endpoint with --url."


def _show(found: Status) -> None:
    state = "ready" if found.ready else "not ready" if found.answers else "does not answer"
    typer.echo(f"Hansom at {found.url}: {state}")
    if found.answers:
        table = Table("tier", "running", "wanted")
        for tier in found.tiers:
            wanted = "?" if tier.wanted is None else str(tier.wanted)
            table.add_row(tier.name, str(tier.running), wanted)
        show_table(table)
        for name, good, word in (
            ("router", found.router, "answers"),
            ("Redis", found.redis, "answers"),
            ("ledger", found.ledger, "drains"),
        ):
            typer.echo(f"{name}: {word if good else 'down'}")
    for problem in found.problems:
        typer.echo(f"problem: {problem.what}\n  {problem.advice}")
