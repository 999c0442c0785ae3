"""`hansom ledger tail`, and what all of `hansom ledger` needs to read and to print."""

import json
import time
from pathlib import Path

import msgspec
import typer
from rich.table import Column, Table
from sqlalchemy.exc import SQLAlchemyError

from cli.tables import show_table
from core.errors import HansomError
from core.ledger_line import LedgerLine
from core.money import usd
from core.settings.load import load
from deployments.machine import environment
from ledger.path.sql_store import SqlStore, Tailed, database_url
from ledger.reports import queries
from ledger.reports.span import TimeSpan

_POLL_S = 0.5
_COLUMNS = (
    "request",
    "time",
    "kind",
    "tier",
    "reason",
    "cache",
    "in",
    "out",
    "cost",
    "TTFT",
    "ends",
)


def open_store(config: Path) -> SqlStore:
    """The ledger that the settings name; raises `HansomError` when there is none yet."""
    url = database_url(load(config).ledger, environment.home())
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise HansomError(f"There is no ledger at {url.database} yet: it begins with `make serve`.")
    try:
        return SqlStore(url)
    except SQLAlchemyError as error:
        raise HansomError(f"The ledger's database cannot be opened: {error}") from error


def tail(config: Path, count: int, wanted: TimeSpan, *, follow: bool, as_json: bool) -> None:
    """Print the last lines, and with `follow` those that come."""
    store = open_store(config)
    lines = queries.tail(store, count, wanted)
    _print(lines, as_json=as_json)
    last = lines[-1].seq if lines else 0
    while follow:
        time.sleep(_POLL_S)
        if lines := queries.tail(store, count, wanted, after=last):
            _print(lines, as_json=as_json, header=False)
            last = lines[-1].seq


def _print(lines: list[Tailed], *, as_json: bool, header: bool = True) -> None:
    if as_json:
        for tailed in lines:
            typer.echo(json.dumps({"seq": tailed.seq, **msgspec.to_builtins(tailed.line)}))
        return
    columns = (Column(name, no_wrap=True) for name in _COLUMNS)
    table = Table(*columns, show_header=header, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for tailed in lines:
        table.add_row(*_cells(tailed.line))
    if lines:
        show_table(table)


def _cells(line: LedgerLine) -> tuple[str, ...]:
    return (
        f"{line.request_id[:13]}/{line.attempt}",
        time.strftime("%H:%M:%S", time.localtime(line.created_s)),
        line.kind.value,
        line.tier,
        line.route_code,
        line.cache,
        str(line.usage.input_tokens),
        str(line.usage.output_tokens),
        f"{usd(line.cost_usd_micros)} USD",
        seconds(line.ttft_s),
        line.error_code or line.outcome.value,
    )


def seconds(value: float | None) -> str:
    """A wait for people: milliseconds below a second."""
    return "–" if value is None else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
