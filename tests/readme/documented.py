"""The commands of README and docs: what to run of them, and how to ask each of them wrongly.

Promises: every line of a shell block is a command to run, one to interrupt, or one that
`not_run.toml` lists with its reason; the lines of a block belong together, in their order.
"""

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import click
import typer
from typer.core import TyperGroup

from cli.main import app
from tests.docs import pages

NOT_RUN: dict[str, str] = {
    pattern: entry["why"]
    for entry in tomllib.loads((Path(__file__).with_name("not_run.toml")).read_text())["not_run"]
    for pattern in entry["commands"]
}
# These go on until they are interrupted, as their reader does it.
ENDLESS = ("--follow",)


@dataclass(frozen=True)
class Group:
    """The commands of one block that are run, in order."""

    name: str
    commands: tuple[str, ...]


def shell_blocks() -> list[pages.Block]:
    """Blocks of commands; of `console` blocks the lines after the prompt."""
    return pages.blocks("sh", "console")


def lines(block: pages.Block) -> list[str]:
    """The commands of a block."""
    if block.language == "console":
        return re.findall(r"^\$ (.+)$", block.text, re.M)
    return list(pages.lines(block))


def not_run(command: str) -> str | None:
    """The pattern that lists the command as not run."""
    words = " ".join(command.split())
    return next((pattern for pattern in NOT_RUN if _matches(words, pattern)), None)


def _matches(words: str, pattern: str) -> bool:
    # Only `*` is special: file names of commands may have brackets.
    return fnmatchcase(words, re.sub(r"([\[?])", r"[\1]", pattern))


def groups() -> Iterator[Group]:
    """What each block runs, and each command of the table in docs/cli.md that no block runs."""
    ran: list[str] = []
    for block in shell_blocks():
        commands = tuple(one for one in lines(block) if not_run(one) is None)
        ran += commands
        if commands:
            yield Group(block.name, commands)
    for block in pages.blocks("python"):
        yield Group(block.name, (f"python -c {shlex.quote(block.text)}",))
    for name in pages.rows("docs/cli.md", "command"):
        if not any(one == name or one.startswith(f"{name} ") for one in (*ran, *_served())):
            yield Group(f"docs/cli.md table: {name}", (name,))


def _served() -> list[str]:
    """What the stage's own endpoint is, and what is listed by more than its bare name."""
    listed = [one for block in shell_blocks() for one in lines(block) if not_run(one)]
    return [" ".join(one.split()) for one in listed if one.startswith("hansom ")]


def subcommand(command: str) -> str:
    """`hansom plan replay` of a command line."""
    words = shlex.split(command)
    known = pages.rows("docs/cli.md", "command")
    return max((" ".join(words[:n]) for n in (2, 3) if " ".join(words[:n]) in known), key=len)


@dataclass(frozen=True)
class Wrong:
    """A command line that must be refused; `said` is a word that the refusal must have."""

    command: str
    code: tuple[int, ...]
    said: str


def wrong(commands: list[str]) -> list[Wrong]:
    """Each subcommand with an unknown option and without its settings, each file that is wrong."""
    found: dict[str, Wrong] = {}
    for command in commands:
        name = subcommand(command)
        asked = [Wrong(f"{name} --no-such-option", (2,), "--no-such-option")]
        if "--config" in options(name):
            asked.append(Wrong(f"{command} --config missing.yaml", (1, 2), "missing.yaml"))
        for word in shlex.split(command):
            if of_checkout(word):
                kind = Path(word).suffix
                others = [f"missing{kind}"] + [f"garbage{kind}"] * bool(kind)
                asked += [Wrong(command.replace(word, one), (1, 2), one) for one in others]
        for one in asked:
            found.setdefault(f"{name} {one.said}", one)
    return list(found.values())


def of_checkout(word: str) -> bool:
    """Whether a word of a command names a file of this repository; `cache` is a command."""
    return re.search(r"[./]", word) is not None and (pages.ROOT / word).exists()


def options(name: str) -> set[str]:
    """The option names of a subcommand."""
    command = _command_line()
    for word in name.split()[1:]:
        assert isinstance(command, TyperGroup)
        command = command.commands[word]
    return {option for parameter in command.params for option in parameter.opts}


@cache
def _command_line() -> click.Command:
    return typer.main.get_command(app)
