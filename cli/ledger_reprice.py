"""`hansom ledger reprice`: what was recorded against what another price version asks."""

import json
import time
from pathlib import Path

import typer
from rich.table import Column, Table

from cli import usage
from cli.ledger import open_store
from cli.tables import show_table, terminal
from core.errors import HansomError
from core.files.shipped import shipped
from core.money import usd
from core.settings.load import load
from core.settings.prices import load_prices
from core.settings.tier_price import TablePrice
from ledger.cost.usage_query import metered
from ledger.reports.reprice import Repriced, reprice
from ledger.reports.span import parse, span


def show(
    config: Path,
    since: str | None,
    until: str | None,
    as_of: str | None,
    prices: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print recorded and re-priced cost by model and UTC day; no line is changed."""
    settings = load(config)
    table = load_prices(prices or settings.prices or shipped("prices.yaml"))
    with usage.options():
        about = span(since, until, None, time.time())
        day_s = None if as_of is None else parse(as_of)
    entries = {
        tier.name: tier.price.table for tier in settings.tiers if isinstance(tier.price, TablePrice)
    }
    attempts = metered(open_store(config), about.since_s, about.until_s)
    rows = reprice(attempts, table, entries, day_s)
    if not rows:
        raise HansomError("The ledger has no attempts in that time.")
    if as_json:
        typer.echo(json.dumps({"rows": [_as_dict(row) for row in rows], "total": _total(rows)}))
    else:
        _print(rows)


def _as_dict(row: Repriced) -> dict[str, object]:
    return {
        "model": row.model,
        "day": row.day.isoformat(),
        "attempts": row.attempts,
        "unpriced": row.unpriced,
        "recorded_usd_micros": row.recorded_usd_micros,
        "repriced_usd_micros": row.repriced_usd_micros,
        "difference_usd_micros": row.difference_usd_micros,
        "unpriced_usd_micros": row.unpriced_usd_micros,
        "price_versions": sorted(row.versions),
    }


def _total(rows: list[Repriced]) -> dict[str, int]:
    return {
        "attempts": sum(row.attempts for row in rows),
        "unpriced": sum(row.unpriced for row in rows),
        "recorded_usd_micros": sum(row.recorded_usd_micros for row in rows),
        "repriced_usd_micros": sum(row.repriced_usd_micros for row in rows),
        "difference_usd_micros": sum(row.difference_usd_micros for row in rows),
        "unpriced_usd_micros": sum(row.unpriced_usd_micros for row in rows),
    }


def _print(rows: list[Repriced]) -> None:
    amounts = ("attempts", "recorded", "re-priced", "difference")
    right = (Column(name, justify="right") for name in amounts)
    table = Table("model", Column("day", no_wrap=True), *right, "by")
    for row in rows:
        by = ", ".join(sorted(row.versions)) or "no price in the table"
        table.add_row(
            row.model,
            row.day.isoformat(),
            str(row.attempts),
            _usd(row.recorded_usd_micros),
            _usd(row.repriced_usd_micros),
            _usd(row.difference_usd_micros),
            by,
        )
    total = _total(rows)
    table.add_section()
    table.add_row(
        "all", "", str(total["attempts"]), _usd(total["recorded_usd_micros"]),
        _usd(total["repriced_usd_micros"]), _usd(total["difference_usd_micros"]), "",
    )  # fmt: skip
    console = terminal()
    show_table(table, console)
    if total["unpriced"]:
        console.print(
            f"{total['unpriced']} attempts (recorded: {_usd(total['unpriced_usd_micros'])}) have "
            "no price in the table and are in neither sum."
        )


def _usd(usd_micros: int) -> str:
    return f"{usd(usd_micros)} USD"
