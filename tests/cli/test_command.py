"""Every command, whatever it does: help, wrong options, missing files, and errors as JSON."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from cli.command import FILE, FOLDER, NEW_FILE, PICTURE
from cli.main import app
from tests.cli.commands import Ran, hansom, leaves

LEAVES = dict(leaves())
COMMANDS = pytest.mark.parametrize("words", LEAVES, ids=" ".join)
# What no user is to read: exceptions, pydantic's idioms, and the admission of a mistake of ours.
FORBIDDEN = (
    "Traceback", "Error:", "KeyError", "ValueError", "TypeError", "Exception", "Errno", "pydantic",
    "Input should", "Field required", "type=", "For further information", "object at 0x",
    "internal error",
)  # fmt: skip
HEAVY = (
    "ray", "vllm", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "sqlalchemy", "redis",
    "openai", "httpx", "yaml", "rich", "torch", "onnxruntime",
)  # fmt: skip
HUGE = ("1e400", "9" * 30)
NOT_FINITE = ("nan", "inf", "-inf")


def fitting(param: Any, folder: Path) -> str:
    """A value that the parser takes for a required parameter."""
    if (choices := param.type_descriptor.choices) is not None:
        return str(choices[0].value)
    if param.metavar == FOLDER:
        return str(folder)
    if param.metavar == FILE:
        file = folder / "some.txt"
        file.write_text("some text\n")
        return str(file)
    return str(folder / "out") if param.type_descriptor.is_path else "some"


def given(words: tuple[str, ...], folder: Path, but: Any = None) -> list[str]:
    """The words of a command with every required parameter, except one."""
    line = list(words)
    for param in LEAVES[words].params:
        if param is not but and param.required:
            name = [] if param.param_type_name == "argument" else [max(param.opts, key=len)]
            line += [*name, fitting(param, folder)]
    return line


def named(param: Any, value: str) -> list[str]:
    if param.param_type_name == "argument":
        return ["--", value]
    return [f"{max(param.opts, key=len)}={value}"]


def parameters(*annotations: Any) -> Iterator[Any]:
    for words, command in LEAVES.items():
        for param in command.params:
            if param.type_descriptor.annotation in annotations:
                yield pytest.param(words, param, id=f"{' '.join(words)} {param.name}")


def paths(*metavars: str) -> Iterator[Any]:
    for words, command in LEAVES.items():
        for param in command.params:
            if param.metavar in metavars:
                yield pytest.param(words, param, id=f"{' '.join(words)} {param.name}")


def told(ran: Ran, code: int) -> str:
    """The error in both forms of the same command; the code and the words are as they should be."""
    assert ran.code == code, ran
    said = ran.out + ran.err
    assert [word for word in FORBIDDEN if word in said] == []
    return said


def error_of(ran: Ran, code: int) -> str:
    told(ran, code)
    assert ran.err == ""
    (error,) = json.loads(ran.out).values()
    assert set(error) == {"message", "type", "param", "exit_code"}
    assert error["exit_code"] == code
    assert error["type"] == {1: "failure", 2: "usage"}[code]
    return str(error["message"])


@COMMANDS
def test_help_is_plain_text_of_80_columns(words: tuple[str, ...]) -> None:
    ran = hansom(*words, "--help")
    assert ran.code == 0 and not ran.err
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "--json" in ran.out


def test_every_line_of_the_overviews_is_whole() -> None:
    def groups(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        yield words
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                yield from groups(command, (*words, name))

    for words in groups(typer.main.get_command(app)):
        lines = hansom(*words, "--help").out.splitlines()
        assert [line for line in lines if line.endswith("...") and "Usage" not in line] == []


def test_the_overview_says_what_hansom_is_groups_commands_and_gives_examples() -> None:
    shown = hansom("--help").out
    about, start, look, costs, tune, examples = map(
        shown.index, ("one OpenAI endpoint", "Start:", "Look:", "Costs:", "Tune:", "Examples:")
    )
    assert about < start < look < costs < tune < examples


def test_no_help_imports_what_takes_long() -> None:
    script = (
        "import sys, io, contextlib; from cli.main import main\n"
        f"for words in {[[], *map(list, LEAVES)]!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        assert main([*words, '--help']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@COMMANDS
def test_an_unknown_option_is_wrong_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    line = given(words, tmp_path)
    said = told(hansom(*line, "--no-such-option"), 2)
    assert said.startswith("hansom: --no-such-option: there is no such option")
    assert f"`hansom {' '.join(words)} --help`" in said
    assert "no such option" in error_of(hansom(*line, "--no-such-option", "--json"), 2)


@COMMANDS
def test_what_must_be_given_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
    for param in LEAVES[words].params:
        if param.required:
            message = error_of(hansom(*given(words, tmp_path, but=param), "--json"), 2)
            assert message.endswith("must be given") or "must be above" in message


def test_a_command_that_is_not_there_is_told_with_one_that_is() -> None:
    assert "there is no command 'ledgr'. Did you mean 'ledger'?" in told(hansom("ledgr"), 2)
    assert "Did you mean 'report'" in error_of(hansom("ledger", "repot", "--json"), 2)
    assert "name a command" in told(hansom("ledger"), 2)


@pytest.mark.parametrize(("words", "param"), [*parameters(int, float, int | None, float | None)])
def test_every_number_is_finite_and_has_bounds(
    words: tuple[str, ...], param: Any, tmp_path: Path
) -> None:
    line = given(words, tmp_path, but=param)
    info = param.type_descriptor.parameter_info
    below = -1 if info.min is None or info.min >= 0 else info.min - 1
    for value in (*NOT_FINITE, *HUGE, str(below), "many"):
        message = error_of(hansom(*line, *named(param, value), "--json"), 2)
        assert message.startswith(f"{max(param.opts, key=len)}: must be "), (value, message)
    for value in NOT_FINITE:
        assert "must be a finite number" in told(hansom(*line, *named(param, value)), 2)


def test_every_path_says_what_it_is_for() -> None:
    kinds = {FILE, FOLDER, NEW_FILE, PICTURE, "NEW_FOLDER", "[PATH]"}
    for words, command in LEAVES.items():
        for param in command.params:
            if param.type_descriptor.is_path:
                assert param.metavar in kinds, (words, param.name)


@pytest.mark.parametrize(("words", "param"), [*paths(FILE)])
def test_a_file_that_is_not_there_is_said_to_be_missing(
    words: tuple[str, ...], param: Any, tmp_path: Path
) -> None:
    line = given(words, tmp_path, but=param)
    gone, empty = tmp_path / "gone.yaml", tmp_path / "empty.yaml"
    empty.touch()
    for path, message in (
        (gone, f"no such file: {gone}"),
        (tmp_path, f"{tmp_path} is a folder, not a file."),
        (empty, f"{empty} is empty."),
    ):
        assert error_of(hansom(*line, "--json", *named(param, str(path))), 1) == message
        assert told(hansom(*line, *named(param, str(path))), 1) == f"hansom: {message}\n"


@pytest.mark.parametrize(("words", "param"), [*paths(FOLDER)])
def test_a_folder_that_is_not_there_is_said_to_be_missing(
    words: tuple[str, ...], param: Any, tmp_path: Path
) -> None:
    line = given(words, tmp_path, but=param)
    file = tmp_path / "file"
    file.write_text("x")
    for path, message in (
        (tmp_path / "gone", f"no such folder: {tmp_path / 'gone'}"),
        (file, f"{file} is a file, not a folder."),
    ):
        assert error_of(hansom(*line, "--json", *named(param, str(path))), 1) == message


@pytest.mark.parametrize(("words", "param"), [*paths(NEW_FILE, PICTURE)])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_done(
    words: tuple[str, ...], param: Any, tmp_path: Path
) -> None:
    line = given(words, tmp_path, but=param)
    path = tmp_path / "gone" / "new.svg"
    message = error_of(hansom(*line, "--json", *named(param, str(path))), 1)
    assert message == f"no such folder: {tmp_path / 'gone'}"
    if param.metavar == PICTURE:
        assert "must end in .svg or .png" in told(hansom(*line, *named(param, "x.gif")), 2)


@pytest.mark.parametrize("content", [b"{{{", b"\x00\xff\x00\xfe"], ids=repr)
@pytest.mark.parametrize(("words", "param"), [*paths(FILE)])
def test_a_file_of_another_kind_is_one_sentence(
    words: tuple[str, ...], param: Any, content: bytes, tmp_path: Path
) -> None:
    line = given(words, tmp_path, but=param)
    path = tmp_path / "other.yaml"
    path.write_bytes(content)
    names = {name for one in LEAVES[words].params for name in one.opts}
    nowhere = ["--url", "http://127.0.0.1:9"] if "--url" in names and param.name != "config" else []
    if words == ("plan", "capacity") and param.param_type_name == "option":
        line.append(str(Path(given(("cache", "tune"), tmp_path)[-1])))
    ran = hansom(*line, "--json", *nowhere, *named(param, str(path)))
    if ran.code == 0 or "error" not in json.loads(ran.out):
        # Nothing was read of it: the command had no need of that file.
        assert words in {("cost",), ("cache", "evaluate")} or param.name != "config", ran
        return
    error_of(ran, ran.code)
