"""How every command of `hansom` is parsed, checked and described.

Promises: a number is finite and within its bounds, and a file that is to be read is there, before
a command begins. Help is plain text, so that showing it imports neither rich nor anything else that
takes long.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from cli.usage import UsageError
from core.errors import HansomError

# What a path option is for, told by its metavar, which the help shows too.
FILE, FOLDER, NEW_FILE, PICTURE = "FILE", "FOLDER", "NEW_FILE", "PICTURE"
_PICTURES = (".svg", ".png")
# Beyond it dates and counts overflow; no option means more. An option's own `max` is far below it.
_MOST = 1e15


class Command(TyperCommand):
    """A command whose options are checked alike, whatever they are called."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and refuse numbers that no option means; raises `typer.BadParameter`."""
        rest: list[str] = super().parse_args(ctx, args)
        for param in self.params:
            value = ctx.params.get(param.name)
            if isinstance(value, int | float) and not abs(value) <= _MOST:
                why = f"must be a finite number (got {value})"
                if math.isfinite(value):
                    why = f"must be {_MOST:.0e} or less"
                raise typer.BadParameter(why, ctx=ctx, param=cast(Any, param))
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Check the files, then run; errors know their command, for the hint at its help."""
        try:
            for param in self.params:
                value = ctx.params.get(param.name)
                if isinstance(value, Path) and (check := _CHECKS.get(str(param.metavar))):
                    check(value)
            return super().invoke(ctx)
        except (typer.BadParameter, UsageError) as error:
            error.ctx = error.ctx or ctx
            raise


class Group(TyperGroup):
    """A group that lists its commands under the headings that they name."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (Typer's signature)
        """Write one section for each heading, in the order of the commands."""
        sections: dict[str, list[tuple[str, str]]] = {}
        limit = formatter.width - 6 - max(map(len, self.commands))
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None)
            heading = heading if isinstance(heading, str) else "Commands"
            sections.setdefault(heading, []).append((name, command.get_short_help_str(limit)))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows, col_max=max(map(len, self.commands)))


class Commands(typer.Typer):
    """A Typer whose groups and commands are those above."""

    def __init__(self, help: str, epilog: str | None = None, *, completion: bool = False) -> None:
        super().__init__(
            cls=Group, help=help, epilog=epilog, no_args_is_help=True, rich_markup_mode=None,
            pretty_exceptions_enable=False, add_completion=completion,
        )  # fmt: skip

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Register a command."""
        return super().command(name, cls=Command, **options)


def readable_file(path: Path) -> None:
    """Raise `HansomError` unless `path` is a file with something in it that can be read."""
    if not path.exists():
        raise HansomError(f"no such file: {path}")
    if path.is_dir():
        raise HansomError(f"{path} is a folder, not a file.")
    if not os.access(path, os.R_OK):
        raise HansomError(f"no permission to read {path}")
    if path.is_file() and not path.stat().st_size:
        raise HansomError(f"{path} is empty.")


def readable_folder(path: Path) -> None:
    """Raise `HansomError` unless `path` is a folder that can be read."""
    if not path.exists():
        raise HansomError(f"no such folder: {path}")
    if not path.is_dir():
        raise HansomError(f"{path} is a file, not a folder.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise HansomError(f"no permission to read {path}")


def writable_file(path: Path) -> None:
    """Raise `HansomError` unless a file can be written at `path`; `-` is standard output."""
    if str(path) == "-":
        return
    if path.is_dir():
        raise HansomError(f"{path} is a folder, not a file.")
    readable_folder(path.parent)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise HansomError(f"no permission to write {path}")


def _picture(path: Path) -> None:
    if path.suffix not in _PICTURES:
        raise UsageError(f"--plot: must end in {' or '.join(_PICTURES)} (got {path}).")
    writable_file(path)


_CHECKS: dict[str, Callable[[Path], None]] = {
    FILE: readable_file,
    FOLDER: readable_folder,
    NEW_FILE: writable_file,
    PICTURE: _picture,
}
