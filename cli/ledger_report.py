"""`hansom ledger report`: what the lines of a span add up to, for people, programs and sheets."""

import json
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.table import Column, Table

from cli.ledger import open_store, seconds
from cli.ledger_prices import known_prices
from cli.tables import show_table, terminal
from core.money import usd
from core.settings.load import load
from ledger.reports import queries
from ledger.reports.export import replacing
from ledger.reports.files import as_csv, as_parquet
from ledger.reports.report import Report, summarise
from ledger.reports.rows import Grouped, ReportRow, Spread
from ledger.reports.span import TimeSpan

_NOWHERE = "(none)"  # a group without a name: no tag, no team


def report(config: Path, wanted: TimeSpan, by: str, form: str, out: Path | None) -> None:
    """Print the report, or write it to `out`; `by` is of `report_rows.BY` or empty."""
    path = None if out is None or str(out) == "-" else out
    if form == "table" and path is not None:
        raise typer.BadParameter("--out goes with --format json, csv or parquet.")
    if form == "parquet" and path is None:
        raise typer.BadParameter("Parquet is not written to the terminal: name a file with --out.")
    known = known_prices(load(config))
    figures, grouped = queries.report(open_store(config), wanted, by, known)
    made = summarise(figures)
    if form == "table":
        _show(made, grouped, wanted)
        return
    written = _written(made, grouped, wanted, form)
    if path is None:
        typer.echo(written.decode(), nl=False)
        return
    with replacing(path) as file:
        file.write(written)


def _written(made: Report, grouped: Grouped, wanted: TimeSpan, form: str) -> bytes:
    if form == "csv":
        return as_csv(grouped)
    if form == "parquet":
        return as_parquet(grouped)
    told = {**made.as_dict(), "until_s": wanted.until_s, **grouped.as_dict()}
    return (json.dumps(told) + "\n").encode()


def _show(made: Report, grouped: Grouped, wanted: TimeSpan) -> None:
    shown = terminal()
    show_table(_summary(made, grouped, wanted), shown)
    if grouped.by:
        rows = [*grouped.rows, grouped.total]
        for table in (_costs, _shares, _times):
            show_table(table(rows, grouped.by), shown)
            shown.print()
    else:
        show_table(_tiers(made), shown)
    for note in (made.counterfactual, *grouped.notes):
        shown.print(f"[dim]{note}[/dim]")


def _summary(made: Report, grouped: Grouped, wanted: TimeSpan) -> Table:
    usage, total, saved = made.usage, grouped.total, grouped.savings
    table = Table(title=f"Ledger: {wanted.words()}", show_header=False)
    for name, value in (
        ("requests", f"{made.requests} ({_counts(made.by_outcome)})"),
        ("attempts", f"{made.attempts} ({_counts(made.by_kind)})"),
        ("cache", f"{made.cache_hits} hits, {made.cache_hit_ratio:.1%} of requests"),
        ("fresh input tokens", f"{usage.fresh_input_tokens:,}"),
        ("cached input tokens", f"{usage.cached_input_tokens:,}"),
        ("output tokens", f"{usage.output_tokens:,}"),
        ("cost", f"{usd(made.cost_usd_micros)} USD"),
        ("cost per successful answer", _per_answer(total)),
        (
            "saved",
            f"{usd(made.saved_usd_micros)} USD, {made.saved_ratio:.1%} of "
            f"{usd(made.always_large_usd_micros)} USD always-large",
        ),
        ("  of it by the cache", f"{usd(saved.cache_usd_micros)} USD"),
        ("  of it by routing", f"{usd(saved.routing_usd_micros)} USD"),
        ("TTFT p50 / p95 / p99", _waits(total.ttft)),
        ("total p50 / p95 / p99", _waits(total.total)),
        ("TPOT p50 / p95", _tpot(total.tpot)),
    ):
        table.add_row(name, value)
    return table


def _tiers(made: Report) -> Table:
    amounts = ("requests", "attempts", "output tokens", "cost")
    table = Table("tier", *(Column(name, justify="right") for name in amounts))
    for name, share in made.by_tier.items():
        table.add_row(
            name,
            str(share.requests),
            str(share.attempts),
            f"{share.usage.output_tokens:,}",
            f"{usd(share.cost_usd_micros)} USD",
        )
    return table


def _costs(rows: Sequence[ReportRow], by: str) -> Table:
    names = ("requests", "successes", "attempts", "fresh in", "cached in", "out", "undelivered")
    table = _table(by, (*names, "cost", "an answer"))
    for row in rows:
        usage = row.usage
        tokens = (usage.fresh_input_tokens, usage.cached_input_tokens, usage.output_tokens)
        numbers = (row.requests, row.successes, row.attempts, *tokens, row.undelivered_tokens)
        table.add_row(
            row.group or _NOWHERE,
            *(f"{number:,}" for number in numbers),
            f"{usd(row.cost_usd_micros)} USD",
            _per_answer(row),
        )
    return table


def _shares(rows: Sequence[ReportRow], by: str) -> Table:
    names = ("success", "exact hits", "semantic hits", "joined", "escalated", "retried")
    table = _table(by, names)
    for row in rows:
        counts = (row.successes, row.exact, row.semantic, row.joined, row.escalated, row.retried)
        shares = (f"{count / row.requests:.1%}" if row.requests else "–" for count in counts)
        table.add_row(row.group or _NOWHERE, *shares)
    return table


def _times(rows: Sequence[ReportRow], by: str) -> Table:
    table = _table(by, ("TTFT p50 / p95 / p99", "total p50 / p95 / p99", "TPOT p50 / p95"))
    for row in rows:
        waits = (_waits(row.ttft), _waits(row.total), _tpot(row.tpot))
        table.add_row(row.group or _NOWHERE, *waits)
    return table


def _table(by: str, names: Sequence[str]) -> Table:
    columns = (Column(name, justify="right", no_wrap=True) for name in names)
    return Table(Column(by), *columns, box=None, pad_edge=False)


def _per_answer(row: ReportRow) -> str:
    cost = row.cost_per_success_usd_micros
    return "–" if cost is None else f"{cost / 1e6:.8f} USD"


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items()) or "none"


def _waits(waits: Spread) -> str:
    return " / ".join(map(seconds, (waits.p50_s, waits.p95_s, waits.p99_s)))


def _tpot(waits: Spread) -> str:
    return " / ".join(map(seconds, (waits.p50_s, waits.p95_s)))
