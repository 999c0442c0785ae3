"""The one style of errors: a line on standard error, or with `--json` an object on standard output.

Promises: wrong usage is exit code 2, a failure 1, Ctrl-C 130; no name of an exception, no trace and
no library's idiom is shown. `HANSOM_TRACEBACK=1` shows the trace of an internal error.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import typer
from typer.exceptions import TyperException

from cli.usage import UsageError
from core.errors import HansomError

INTERRUPTED = 130
PIPE_CLOSED = "closed"
TRACEBACK = "HANSOM_TRACEBACK"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as users see it; `kind` is usage, failure, interrupted, internal or closed."""

    message: str
    kind: str = "failure"
    exit_code: int = 1
    param: str | None = None
    hint: str = ""

    def as_json(self) -> str:
        """`{"error": {...}}`, whose exit code is the process's."""
        told = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "exit_code": self.exit_code,
        }
        return json.dumps({"error": told})

    def show(self, *, as_json: bool) -> None:
        """Print it where it belongs; nothing for an interrupt, which the user made."""
        if as_json:
            typer.echo(self.as_json())
        elif self.kind != "interrupted":
            typer.secho(f"hansom: {self.message}", fg="red", err=True)
            if self.hint:
                typer.echo(self.hint, err=True)


def wants_json(args: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, which an unreadable one may do too."""
    known = list(args[: args.index("--")] if "--" in args else args)
    return any(
        one in ("--json", "--format=json") or (one == "--format" and after == "json")
        for one, after in pairwise([*known, ""])
    )


def failure_of(error: BaseException) -> Failure:
    """What to tell of anything that ended a command."""
    if isinstance(error, TyperException | UsageError):
        return _usage(error)
    if isinstance(error, HansomError):
        return Failure(error.message)
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", "interrupted", INTERRUPTED)
    if isinstance(error, typer.Abort):
        return Failure("Not confirmed: nothing was changed.")
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, ImportError):
        return Failure(
            f"{error.name or 'A package'} is not installed: `make install` has what serves, "
            "requirements/dev.txt what trains and draws."
        )
    sql = sys.modules.get("sqlalchemy.exc")
    if sql is not None and isinstance(error, sql.SQLAlchemyError):
        reason = str(getattr(error, "orig", None) or "").strip() or "its database refuses the query"
        return Failure(f"the ledger cannot be read: {reason}")
    return _internal(error)


def _usage(error: Any) -> Failure:
    """A mistake in the options, with the command whose help tells more."""
    ctx, param = getattr(error, "ctx", None), getattr(error, "param", None)
    path = ctx.command_path if ctx is not None else "hansom"
    option = _option(error, param)
    words = _words(error)
    if option and not words.startswith(option):
        words = f"{option}: {words}"
    return Failure(words, "usage", 2, option, f"`{path} --help` has the options.")


def _option(error: Any, param: Any) -> str | None:
    """The option or argument that is wrong: `--lines`, `FILE`."""
    hint = getattr(error, "param_hint", None) or getattr(error, "option_name", None)
    if isinstance(hint, str):
        return hint
    if param is None:
        found = re.match(r"(--[a-z][a-z-]*): ", getattr(error, "message", ""))
        return found[1] if found else None
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    return str(max(param.opts, key=len))


def _words(error: Any) -> str:
    """What is wrong, without the parser's idioms."""
    cause = error.__cause__
    if hasattr(cause, "errors"):  # pydantic's, by which Typer reads the text of an option
        from core.settings.allowed import allowed

        item = cause.errors()[0]
        given = item["input"]
        words = _choices(getattr(error, "param", None)) or allowed(item)
        if str(given).lower().lstrip("+-") in ("nan", "inf", "infinity"):
            words = "must be a finite number"
        return f"{words} (got {given})"
    kind = type(error).__name__
    if kind == "MissingParameter":
        return "must be given"
    if kind == "NoSuchOption":
        near = ", ".join(sorted(error.possibilities or ()))
        return "there is no such option" + (f"; did you mean {near}?" if near else "")
    if kind == "NoArgsIsHelpError":
        return f"name a command.\n\n{error.message}"
    words = str(error.message)
    words = re.sub(r"^No such command (.+?)\.", r"there is no command \1.", words)
    return re.sub(r"^Got unexpected extra arguments? ", "unexpected: ", words)


def _choices(param: Any) -> str:
    """What an option of a few words may be; empty for another."""
    choices = param.type_descriptor.choices if param is not None else None
    return f"must be one of {', '.join(choices)}" if choices else ""


def _of_system(error: OSError) -> Failure:
    if isinstance(error, BrokenPipeError):
        return Failure("the reader has closed the pipe", PIPE_CLOSED)
    name = error.filename or "The operating system"
    if isinstance(error, FileNotFoundError):
        return Failure(f"no such file: {name}")
    if isinstance(error, PermissionError):
        return Failure(f"no permission: {name}")
    return Failure(f"{name}: {error.strerror or error}")


def _internal(error: BaseException) -> Failure:
    """A mistake of Hansom's own."""
    if os.environ.get(TRACEBACK):
        raise error
    words = " ".join(str(error).split())[:300] or "no reason is known"
    return Failure(
        f"internal error: {words}. Please report it; {TRACEBACK}=1 shows where it happened.",
        "internal",
    )
