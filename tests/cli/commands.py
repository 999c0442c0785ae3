"""The command line as its entry point runs it, and every command with its parameters."""

import io
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

from cli.main import app, main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def hansom(*words: object) -> Ran:
    """Run one command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(
            [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in words]
        )
    return Ran(code, out.getvalue(), err.getvalue())


def leaves(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that is no group: its words and its parser."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command
