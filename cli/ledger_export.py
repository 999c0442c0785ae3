"""`hansom ledger export`: all lines of a span as a file."""

import json
from pathlib import Path

import typer

from cli.ledger import open_store
from ledger.reports import export as files
from ledger.reports.span import TimeSpan


def export(config: Path, wanted: TimeSpan, form: str, out: Path, *, as_json: bool) -> None:
    """Write the file, and say how many lines it has; `-` is stdout, with nothing beside them."""
    path = None if str(out) == "-" else out
    if path is None and form == "parquet":
        raise typer.BadParameter("Parquet is not written to stdout: name a file with --out.")
    if path is None and as_json:
        raise typer.BadParameter("--json tells of the file: name one with --out.")
    count = files.export(open_store(config), wanted, form, path)
    if as_json:
        typer.echo(json.dumps({"lines": count, "format": form, "out": str(out)}))
    elif path is not None:
        typer.echo(f"{count:,} lines in {path}")
