"""What a command reads from standard input: a prompt from a pipe, and a yes from a person."""

import sys

import typer

from cli.usage import UsageError


def text_of(prompt: str) -> str:
    """The prompt, or what a pipe holds for `-`; raises `UsageError` for an empty one."""
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text.strip():
        raise UsageError("PROMPT: must not be empty.")
    return text


def confirm(question: str) -> None:
    """Ask on standard error, so that JSON on standard output stays JSON.

    Raises `typer.Abort` for a no, and `UsageError` where no person can be asked.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"--yes: must be given where no terminal can be asked. {question}")
    typer.confirm(question, abort=True, err=True)
