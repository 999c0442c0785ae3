"""`hansom cache tune`: what one's own labelled prompts say about the cut-offs.

Promises: weights and settings stay as they are; the advice is printed. With `--json` one object
goes to standard output and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.table import Table

from cache.error_budget.budget import Level
from cache.semantic.pair import PromptReader
from cache.semantic.verify import DEFAULT_ARTEFACT, Verifier
from cache.tuning.evaluation import Share
from cache.tuning.tune import GRID, LEVELS, Advice, Tried, advise, examine
from cli.progress import TerminalProgress
from cli.tables import show_table, terminal
from text.embed import MiniLM


def tune(path: Path, limit: float, weights: Path | None, *, as_json: bool) -> None:
    """Print wrong share and recall at every cut-off, and the advice."""
    embedder = MiniLM.installed()
    verifier = Verifier.load(PromptReader(embedder, kept=1 << 13), weights or DEFAULT_ARTEFACT)
    found = []
    with TerminalProgress(quiet=as_json) as progress:
        lane = progress.lane()
        lane.start(f"cut-offs on {path.name}", len(GRID) + len(LEVELS))
        for tried in examine(path, embedder, verifier):
            found.append(tried)
            lane.advance(1)
        lane.done()
    advice = advise({Level(one.level): one.tally for one in found if one.level}, limit)
    if as_json:
        typer.echo(json.dumps(as_dict(found, advice, limit)))
    else:
        show(found, advice, limit)


def as_dict(found: list[Tried], advice: Advice, limit: float) -> dict[str, object]:
    """One object: a row a cut-off, and the advice."""
    keys = ("hits", "wrong", "n")
    shares = [f"{name}{end}" for name in ("wrong_share", "recall") for end in ("", "_low", "_high")]
    rows = []
    for one in found:
        told = one.report.as_json()
        rows.append(
            {
                "pair": one.pair,
                "level": one.level,
                **{name: told[name] for name in (*keys, *shares)},
            }
        )
    return {
        "kind": found[0].report.kind,
        "weights": found[0].report.version,
        "limit": limit,
        "cut_offs": rows,
        "advice": asdict(advice),
    }


def show(found: list[Tried], advice: Advice, limit: float) -> None:
    """The same for people."""
    console = terminal()
    table = Table("cut-off", "level", "hits", "wrong", "wrong share (95 %)", "recall (95 %)")
    for one in found:
        report = one.report
        table.add_row(
            f"{one.pair:.4g}", one.level, f"{report.hits.count:,}", f"{report.wrong.count:,}",
            _cell(report.wrong), _cell(report.recall),
        )  # fmt: skip
    show_table(table, console)
    console.print(f"For a wrong share of {limit:.2%}: {advice.reason}.".replace("..", "."))
    if advice.wrong_share is None:
        console.print("Set cache.semantic: false for this tenant or domain.")
        return
    console.print(f"Set cache.wrong_share: {advice.wrong_share:g} (begins at {advice.level}).")
    if not advice.sure:
        console.print(
            f"The file does not prove it: {advice.more_hits:,} more hits would, none of them wrong."
        )


def _cell(share: Share) -> str:
    if share.value is None or share.interval is None:
        return "–"
    low, high = share.interval
    return f"{share.value:.1%} ({low:.1%} to {high:.1%})"
