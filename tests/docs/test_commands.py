"""Every command that the documentation prints can be run, and every subcommand is told."""

import importlib.util
import re
import shlex
from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperGroup

from cli.main import app
from core.settings.load import load
from deployments.gateway.dispatch import make_plan
from router.policy.policy import decide
from router.policy.terms import Observation
from router.score.conversation import read
from router.score.features import of_conversation
from router.score.model import Scorer
from tests.docs import pages
from text.embed import MiniLM

MAKEFILE = pages.text("Makefile")
TARGETS = {
    target for line in re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.M) for target in line.split()
} | set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
COMMANDS = [shlex.split(command) for command in pages.commands()]
HANSOM = [words[1:] for words in COMMANDS if words[0] in ("hansom", ".venv/bin/hansom")]
MAKE = [words[1:] for words in COMMANDS if words[0] == "make"]
MODULES = [words[2:] for words in COMMANDS if words[:2] == ["python", "-m"]]
# The owner of each other program is not this repository.
OTHERS = {"sudo", "source", "curl", "ray", "docker"}


def subcommands(group: object, prefix: str = "hansom") -> Iterator[str]:
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from subcommands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


def test_every_printed_program_is_known_here():
    known = OTHERS | {"hansom", ".venv/bin/hansom", "make", "python"}
    bare = [next(word for word in words if "=" not in word) for words in COMMANDS]
    assert [program for program in bare if program not in known] == []


@pytest.mark.parametrize("words", MAKE, ids=" ".join)
def test_every_make_target_exists(words: list[str]):
    targets = [word for word in words if "=" not in word]
    assert targets and set(targets) <= TARGETS
    for word in words:
        if "=" in word:
            name = word.split("=")[0]
            assert f"$({name})" in MAKEFILE


@pytest.mark.parametrize("words", HANSOM, ids=lambda words: " ".join(words)[:40])
def test_every_hansom_line_is_understood(words: list[str]):
    command, name, rest = typer.main.get_command(app), "hansom", list(words)
    while isinstance(command, TyperGroup):
        name, *rest = rest
        command = command.commands[name]
    command.make_context(name, rest)  # parses and checks, and runs nothing


@pytest.mark.parametrize("words", MODULES, ids=" ".join)
def test_every_python_module_that_is_run_exists(words: list[str]):
    assert importlib.util.find_spec(words[0]) is not None


def test_every_subcommand_is_in_the_readme_and_none_that_is_gone():
    in_code = set(subcommands(typer.main.get_command(app)))
    assert set(pages.rows("docs/cli.md", "command")) == in_code


def test_the_readme_names_every_make_target_of_its_two_commands():
    told = {word for words in MAKE for word in words}
    assert {"serve", "test", "check", "format", "install-gpu"} <= told


def test_the_questions_of_the_readme_go_where_it_says():
    """`config/laptop.yaml`, the shipped weights and the policy; the models have no part in it."""
    settings = load(pages.ROOT / "config" / "laptop.yaml")
    scorer, embedder = Scorer.load(pages.ROOT / settings.router.weights), MiniLM.installed()
    policy = make_plan(settings, scorer).main
    asked = [
        read([{"role": "user", "content": words[2]}])
        for block in pages.blocks("sh")
        if block.page == pages.ROOT / "README.md"
        for words in map(shlex.split, pages.lines(block))
        if words[:2] == ["hansom", "ask"]
    ]
    went = [
        decide(
            Observation(
                request_id="r",
                requested="auto",
                signals={},
                score=scorer.score(embedder.embed([one.asked])[0], of_conversation(one)),
            ),
            policy,
        ).tier
        for one in asked
    ]
    assert settings.router.strategy == "learned"
    assert went == ["small", "large"]
