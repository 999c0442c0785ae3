"""`hansom cache`: how well the semantic cache tells prompts apart.

Promises: nothing here changes a running system; with `--json` one object goes to standard output
and nothing else. A file that does not fit is exit code 1, and the message says what it has.
"""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.table import Table

from cache.semantic.pair import PromptReader
from cache.semantic.verify import DEFAULT_ARTEFACT, Verifier
from cache.tuning.evaluation import CacheEvaluation, Examiner, Share
from cli.tables import show_table, terminal
from text.embed import MiniLM


def evaluate(path: Path, weights: Path | None, level: str, *, as_json: bool) -> None:
    """Print hits, wrong hits and recall on the rows of a file."""
    embedder = MiniLM.installed()
    verifier = Verifier.load(PromptReader(embedder, kept=1 << 13), weights or DEFAULT_ARTEFACT)
    report = Examiner(embedder, verifier, level).evaluate_file(path)
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        show(report)


def show(report: CacheEvaluation) -> None:
    """The same figures for people."""
    console = terminal()
    table = Table("measure", "value", "95 % interval", "rows")
    for name, share in (
        ("served", report.hits),
        ("wrong of those served", report.wrong),
        ("recall", report.recall),
    ):
        table.add_row(name, *_cells(share))
    show_table(table, console)
    reasons = ", ".join(
        f"{name} {count:,}"
        for name, count in sorted(report.reasons.items(), key=lambda item: -item[1])
    )
    console.print(f"Decided by: {reasons}.")
    console.print(f"{report.kind}, weights {report.version}, level {report.level}.")
    for one in report.wrong_hits:
        console.print(
            f"wrong ({one.reason} {one.score:.3f}, cosine {one.cosine:.3f}): "
            f"{one.cached!r} for {one.query!r}",
            markup=False,
        )


def _cells(share: Share) -> tuple[str, str, str]:
    if share.value is None or share.interval is None:
        return "–", "", "0"
    low, high = share.interval
    return f"{share.value:.1%}", f"{low:.1%} to {high:.1%}", f"{share.count:,} of {share.of:,}"
