"""`hansom ledger`: the options of its subcommands. What they do is imported when one is run."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import usage
from cli.command import Commands
from cli.options import DEFAULT_CONFIG, NEW_FILE, AsJson, Config, Hours

if TYPE_CHECKING:
    from ledger.reports.span import TimeSpan

ledger = Commands("Show what was spent, on what, and what was saved.")

Since = Annotated[
    str | None, typer.Option(help="From this UTC day or moment on, as 2026-11-01 or in ISO 8601.")
]
Until = Annotated[str | None, typer.Option(help="Up to this UTC day or moment, it not included.")]
Tenant = Annotated[str | None, typer.Option(help="Only this tenant's, as the ledger names it.")]
Tag = Annotated[str | None, typer.Option(help="Only requests that have this tag.")]
Out = Annotated[
    Path | None, typer.Option(metavar=NEW_FILE, help="Output file (written atomically).")
]


class ReportBy(StrEnum):
    """What a report can be grouped by; the same as `ledger.reports.rows.BY`."""

    TENANT = "tenant"
    KEY = "key"
    TEAM = "team"
    TAG = "tag"
    ROUTE = "route"
    TIER = "tier"
    MODEL = "model"
    MODEL_VERSION = "model-version"
    ROUTER_VERSION = "router-version"
    PROMPT_VERSION = "prompt-version"
    PRICE_VERSION = "price-version"
    KIND = "kind"
    CACHE = "cache"
    LANE = "lane"
    DAY = "day"


class DiffBy(StrEnum):
    """What two versions can be of."""

    MODEL_VERSION = "model-version"
    ROUTER_VERSION = "router-version"
    PROMPT_VERSION = "prompt-version"
    PRICE_VERSION = "price-version"


class TailFormat(StrEnum):
    """How lines are shown."""

    TABLE = "table"
    JSON = "json"


class ReportFormat(StrEnum):
    """How a report is written; CSV and Parquet have the rows only."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


class ExportFormat(StrEnum):
    """How lines are written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


@ledger.command("tail")
def tail_command(
    count: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=1_000_000, help="How many lines.")
    ] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow new lines.")] = False,
    tenant: Tenant = None,
    tag: Tag = None,
    form: Annotated[TailFormat, typer.Option("--format", help="For people or machines.")] = (
        TailFormat.TABLE
    ),
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show the last lines, one attempt each."""
    from cli.ledger import tail

    wanted = _span(tenant=tenant, tag=tag)
    tail(config, count, wanted, follow=follow, as_json=as_json or form is TailFormat.JSON)


@ledger.command("report")
def report_command(
    since: Since = None,
    until: Until = None,
    hours: Hours = None,
    by: Annotated[
        ReportBy | None,
        typer.Option(
            metavar="GROUP",
            help="One row for each tenant, key, team, tag, route, tier, model, model-version, "
            "router-version, prompt-version, price-version, kind, cache, lane or day.",
        ),
    ] = None,
    tenant: Tenant = None,
    tag: Tag = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="csv and parquet: rows only.")] = (
        ReportFormat.TABLE
    ),
    out: Out = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Add up requests, tokens, cost, savings and waits."""
    from cli.ledger_report import report

    wanted = _span(since, until, hours, tenant, tag)
    told = ReportFormat.JSON if as_json else form
    report(config, wanted, by.value if by else "", told.value, out)


@ledger.command("export")
def export_command(
    form: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    out: Annotated[Path, typer.Option(metavar=NEW_FILE, help="A file, or - for stdout.")],
    since: Since = None,
    until: Until = None,
    hours: Hours = None,
    tenant: Tenant = None,
    tag: Tag = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Write all lines with all fields to a file."""
    from cli.ledger_export import export

    wanted = _span(since, until, hours, tenant, tag)
    export(config, wanted, form.value, out, as_json=as_json)


@ledger.command("diff")
def diff_command(
    versions: Annotated[
        list[str] | None, typer.Argument(help="With --by: the version before, and after.")
    ] = None,
    by: Annotated[DiffBy | None, typer.Option(help="Of what the two versions are.")] = None,
    weeks: Annotated[
        tuple[str, str] | None, typer.Option(help="Two ISO weeks, as 2026-W45 2026-W46.")
    ] = None,
    before: Annotated[str | None, typer.Option("--from", help="A span, as DAY..DAY.")] = None,
    after: Annotated[str | None, typer.Option("--to", help="The span to compare with it.")] = None,
    since: Since = None,
    until: Until = None,
    hours: Hours = None,
    tenant: Tenant = None,
    tag: Tag = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Explain what changed the cost of an answer, by cause.

    Between two versions or two spans, for each successful answer.
    """
    from cli.ledger_diff import LedgerDiffOptions, diff

    wanted = _span(since, until, hours, tenant, tag)
    of = by.value if by else None
    asked = LedgerDiffOptions.read(wanted, of, tuple(versions or ()), weeks, (before, after))
    diff(config, asked, as_json=as_json)


def _span(
    since: str | None = None,
    until: str | None = None,
    hours: float | None = None,
    tenant: str | None = None,
    tag: str | None = None,
) -> "TimeSpan":
    """What the options mean; what is wrong with them is wrong usage, exit code 2."""
    from ledger.reports.span import span

    with usage.options():
        return span(since, until, hours, time.time(), tenant, tag)
