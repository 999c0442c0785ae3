"""`hansom ledger diff`: what changed the cost of a successful answer, by cause."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.table import Column, Table

from cli.ledger import open_store
from cli.ledger_prices import known_prices
from cli.tables import show_table, terminal
from core.errors import HansomError
from core.money import usd
from core.settings.load import load
from ledger.reports.diff import Diff, Factor, compare
from ledger.reports.diff_words import WHAT, as_dict, levels, sentence
from ledger.reports.queries_diff import of_spans, of_versions
from ledger.reports.span import TimeSpan, between, week

_HOW = "Give two versions and --by, or --weeks, or --from and --to."


@dataclass(frozen=True, slots=True)
class LedgerDiffOptions:
    """Two versions of `by` within `span`, or two named spans."""

    span: TimeSpan
    by: str = ""
    versions: tuple[str, str] = ("", "")
    spans: tuple[tuple[str, TimeSpan], tuple[str, TimeSpan]] | None = None

    @classmethod
    def read(
        cls,
        span: TimeSpan,
        by: str | None,
        versions: tuple[str, ...],
        weeks: tuple[str, str] | None,
        ends: tuple[str | None, str | None],
    ) -> LedgerDiffOptions:
        """What the command line means; raises `typer.BadParameter`."""
        before, after = ends
        ways = (bool(by or versions), weeks is not None, bool(before or after))
        if sum(ways) != 1:
            raise typer.BadParameter(_HOW)
        if by or versions:
            if not by or len(versions) != 2:
                raise typer.BadParameter("--by goes with two versions, before and after.")
            return cls(span, by, (versions[0], versions[1]))
        if span.since_s is not None or span.until_s is not None:
            raise typer.BadParameter("--since, --until and --hours go with --by.")
        if weeks is None and not (before and after):
            raise typer.BadParameter("--from and --to go together.")
        names = weeks or (before or "", after or "")
        try:
            one, other = (week(name) if weeks else between(name) for name in names)
        except HansomError as error:
            raise typer.BadParameter(error.message) from error
        return cls(span, spans=((names[0], _as(span, one)), (names[1], _as(span, other))))


def _as(wanted: TimeSpan, span: TimeSpan) -> TimeSpan:
    return replace(span, tenant=wanted.tenant, tag=wanted.tag)


def diff(config: Path, asked: LedgerDiffOptions, *, as_json: bool) -> None:
    """Print the table and its sentence, or one JSON object."""
    known = known_prices(load(config))
    store = open_store(config)
    if asked.spans is None:
        sides = of_versions(store, asked.span, asked.by, asked.versions, known)
    else:
        sides = of_spans(store, *asked.spans, known)
    made = compare(*sides)
    if as_json:
        typer.echo(json.dumps(as_dict(made)))
        return
    shown = terminal()
    show_table(_sides(made), shown)
    show_table(_factors(made), shown)
    shown.print(sentence(made), soft_wrap=True)


def _sides(made: Diff) -> Table:
    numbers = ("requests", "successes", "cost", "an answer")
    table = Table("", *(Column(name, justify="right") for name in numbers))
    for side in (made.before, made.after):
        table.add_row(
            side.name,
            f"{side.requests:,}",
            f"{side.successes:,}",
            f"{usd(round(side.cost_usd_micros))} USD",
            f"{float(side.per_answer_usd_micros) / 1e6:.8f} USD",
        )
    return table


def _factors(made: Diff) -> Table:
    change = float(made.change_usd_micros)
    right = [Column(name, justify="right", no_wrap=True) for name in ("an answer", "of it")]
    table = Table("what changed", "before", "after", *right)
    before, after = levels(made.before), levels(made.after)
    for factor in Factor:
        effect = float(made.effects_usd_micros[factor])
        share = f"{effect / change:.1%}" if change else "–"
        table.add_row(WHAT[factor], before[factor], after[factor], _signed(effect), share)
    table.add_section()
    table.add_row("all", "", "", _signed(change), "100.0%" if change else "–")
    return table


def _signed(usd_micros: float) -> str:
    return f"{usd_micros / 1e6:+.8f} USD"
