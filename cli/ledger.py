"""`hansom ledger`: the ledger's lines and its report, read from the SQL database."""

import json
import time
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from core.errors import HansomError
from core.money import usd
from core.settings import load
from deployments import environment
from ledger.line import LedgerLine
from ledger.report import Report, Waits, summarise
from ledger.sql_store import SqlStore, Tailed, sqlite_url

_POLL_S = 0.5
_LEAST_WIDTH = 118
_COLUMNS = (
    "time",
    "request",
    "kind",
    "tier",
    "reason",
    "cache",
    "in",
    "out",
    "USD",
    "TTFT",
    "ends",
)
_MAY_SHRINK = ("request", "reason")  # so that 80 columns never cut an amount


def open_store(config: Path) -> SqlStore:
    """The ledger that the settings name; raises `HansomError` when there is none yet."""
    path = environment.home() / load(config).ledger.path
    if not path.exists():
        raise HansomError(f"There is no ledger at {path} yet: it begins with `make serve`.")
    return SqlStore(sqlite_url(path))


def tail(config: Path, count: int, *, follow: bool, as_json: bool) -> None:
    """Print the last lines, and with `follow` those that come."""
    store = open_store(config)
    lines = store.tail(count)
    _print(lines, as_json=as_json)
    last = lines[-1].seq if lines else 0
    while follow:
        time.sleep(_POLL_S)
        if lines := store.tail(count, after=last):
            _print(lines, as_json=as_json, header=False)
            last = lines[-1].seq


def report(config: Path, hours: float | None, *, as_json: bool) -> None:
    """Print the report of the last `hours`, or of all time."""
    since_s = None if hours is None else time.time() - hours * 3600
    made = summarise(open_store(config).figures(since_s))
    if as_json:
        typer.echo(json.dumps(made.as_dict()))
        return
    console = _console()
    console.print(_summary(made))
    console.print(_tiers(made))
    console.print(f"[dim]{made.counterfactual}[/dim]")


def _print(lines: list[Tailed], *, as_json: bool, header: bool = True) -> None:
    if as_json:
        for tailed in lines:
            typer.echo(json.dumps({"seq": tailed.seq, **msgspec.to_builtins(tailed.line)}))
        return
    columns = (Column(name, no_wrap=name not in _MAY_SHRINK) for name in _COLUMNS)
    table = Table(*columns, show_header=header, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for tailed in lines:
        table.add_row(*_cells(tailed.line))
    if lines:
        _console().print(table)


def _cells(line: LedgerLine) -> tuple[str, ...]:
    return (
        time.strftime("%H:%M:%S", time.localtime(line.created_s)),
        f"{line.request_id[:13]}/{line.attempt}",
        line.kind.value,
        line.tier,
        line.route_code,
        line.cache,
        str(line.usage.input_tokens),
        str(line.usage.output_tokens),
        usd(line.cost_usd_micros),
        _seconds(line.ttft_s),
        line.error_code or line.outcome.value,
    )


def _summary(made: Report) -> Table:
    usage = made.usage
    table = Table(title="Ledger", show_header=False)
    for name, value in (
        ("requests", f"{made.requests} ({_counts(made.by_outcome)})"),
        ("attempts", f"{made.attempts} ({_counts(made.by_kind)})"),
        ("cache", f"{made.cache_hits} hits, {made.cache_hit_ratio:.1%} of requests"),
        ("fresh input tokens", f"{usage.fresh_input_tokens:,}"),
        ("cached input tokens", f"{usage.cached_input_tokens:,}"),
        ("output tokens", f"{usage.output_tokens:,}"),
        ("cost", f"${usd(made.cost_usd_micros)}"),
        (
            "saved",
            f"${usd(made.saved_usd_micros)}, {made.saved_ratio:.1%} of "
            f"${usd(made.always_large_usd_micros)} always-large",
        ),
        ("TTFT p50 / p95", _waits(made.ttft)),
        ("total p50 / p95", _waits(made.total)),
    ):
        table.add_row(name, value)
    return table


def _tiers(made: Report) -> Table:
    table = Table("tier", "requests", "attempts", "output tokens", "cost USD")
    for name, share in made.by_tier.items():
        table.add_row(
            name,
            str(share.requests),
            str(share.attempts),
            f"{share.usage.output_tokens:,}",
            usd(share.cost_usd_micros),
        )
    return table


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items()) or "none"


def _waits(waits: Waits) -> str:
    return f"{_seconds(waits.p50_s)} / {_seconds(waits.p95_s)}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _console() -> Console:
    """At least as wide as the lines are: a folded table cannot be read or searched."""
    return Console(width=max(Console().width, _LEAST_WIDTH))
