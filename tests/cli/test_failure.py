"""Errors have one style: a line or an object, an exit code, and no trace of the code."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy.exc import OperationalError

from cli.failure import TRACEBACK, failure_of, wants_json
from cli.usage import UsageError, options
from core.errors import HansomError
from tests.cli.commands import hansom


@pytest.mark.parametrize(
    ("error", "message", "kind", "code"),
    [
        (HansomError("Too bad."), "Too bad.", "failure", 1),
        (UsageError("--lines: must be 1."), "--lines: must be 1.", "usage", 2),
        (typer.BadParameter("must be 1", param_hint="--lines"), "--lines: must be 1", "usage", 2),
        (KeyboardInterrupt(), "interrupted", "interrupted", 130),
        (typer.Abort(), "Not confirmed: nothing was changed.", "failure", 1),
        (FileNotFoundError(2, "No such", "x.csv"), "no such file: x.csv", "failure", 1),
        (PermissionError(13, "denied", "x.csv"), "no permission: x.csv", "failure", 1),
        (OSError(28, "No space left", "x.csv"), "x.csv: No space left", "failure", 1),
        (ModuleNotFoundError("No", name="scipy"), "scipy is not installed", "failure", 1),
        (
            OperationalError("SELECT 1", None, Exception("no such table: lines")),
            "the ledger cannot be read: no such table: lines",
            "failure",
            1,
        ),
        (ZeroDivisionError("division by zero"), "internal error: division by", "internal", 1),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else "",
)
def test_each_error_has_its_words_kind_and_code(
    error: BaseException, message: str, kind: str, code: int
) -> None:
    found = failure_of(error)
    assert found.message.startswith(message)
    assert (found.kind, found.exit_code) == (kind, code)
    told = json.loads(found.as_json())["error"]
    assert told == {
        "message": found.message, "type": kind, "param": found.param, "exit_code": code
    }  # fmt: skip
    assert type(error).__name__ not in found.message


def test_an_internal_error_shows_its_trace_only_to_whoever_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert TRACEBACK in failure_of(ZeroDivisionError("x")).message
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(ZeroDivisionError):
        failure_of(ZeroDivisionError("x"))


def test_an_error_while_options_are_read_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="no day"), options():
        raise HansomError("no day")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["cost", "--json"], True),
        (["ledger", "tail", "--format", "json"], True),
        (["ledger", "tail", "--format=json", "--bogus"], True),
        (["ledger", "tail", "--format", "table"], False),
        (["ask", "--", "--json"], False),
        ([], False),
    ],
)
def test_json_is_wanted_also_by_a_line_that_cannot_be_read(words: list[str], wanted: bool) -> None:
    assert wants_json(words) is wanted


def test_a_failure_goes_to_standard_error_or_as_json_to_standard_output() -> None:
    words = ("cost", "--prices", "nowhere.yaml")
    plain, as_json = hansom(*words), hansom(*words, "--json")
    assert (plain.code, plain.out, plain.err) == (1, "", "hansom: no such file: nowhere.yaml\n")
    assert (as_json.code, as_json.err) == (1, "")
    assert json.loads(as_json.out)["error"]["message"] == "no such file: nowhere.yaml"


@pytest.mark.parametrize("words", [("--hours", "1e300"), ("--since", "9999-99-99")])
def test_times_that_cannot_be_are_wrong_usage(words: tuple[str, str]) -> None:
    assert hansom("ledger", "report", *words).code == 2


def test_a_url_that_is_none_is_wrong_usage() -> None:
    for words in (("ask", "Hi"), ("scale", "explain"), ("status",)):
        ran = hansom(*words, "--url", "localhost:8000")
        assert ran.code == 2 and "--url: must begin with http://" in ran.err


@pytest.mark.parametrize(
    "words", [("ask", "Hi"), ("scale", "explain"), ("plan", "calibrate", "--tier", "small")]
)
def test_an_endpoint_that_does_not_answer_is_named_with_what_to_do(words: tuple[str, ...]) -> None:
    ran = hansom(*words, "--url", "http://127.0.0.1:9")
    assert ran.code == 1
    assert "Nothing answers at http://127.0.0.1:9" in ran.err and "hansom serve" in ran.err


def test_a_redis_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, simulated_file: Callable[..., Path]
) -> None:
    config = simulated_file(tmp_path, cache={"redis_url": "redis://me:s3cret@127.0.0.1:9/0"})
    for words in (("cache", "stats"), ("keys", "list")):
        ran = hansom(*words, "--config", config)
        assert ran.code == 1
        assert "redis://***@127.0.0.1:9/0" in ran.err and "s3cret" not in ran.err


def test_removing_needs_a_yes_where_nobody_can_be_asked(
    tmp_path: Path, simulated_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with --json, which answers no question."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    config = simulated_file(tmp_path)
    for extra in ((), ("--json",)):
        ran = hansom("cache", "purge", "--all", "--config", config, *extra)
        assert ran.code == 2 and "--yes" in ran.err + ran.out


def run(*words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def test_a_pipe_that_is_closed_early_is_quiet() -> None:
    process = run("cost", "--json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == 1
    assert process.stderr.read() == ""


def test_ctrl_c_ends_with_130_and_without_a_trace(tmp_path: Path) -> None:
    """While `ask` waits for an endpoint that accepts and says nothing."""
    import signal
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = run(
            "ask", "Hi", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}",
            # A shell's background job, which the tests may be, ignores SIGINT and hands that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        silent.settimeout(60)
        connection, _ = silent.accept()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        connection.close()
    assert process.returncode == 130
    assert (out, err) == ("", "")


def test_hansom_config_names_the_settings_and_config_wins_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated_file: Callable[..., Path]
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANSOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HANSOM_CONFIG", str(simulated_file(one, server={"port": 9})))
    assert "http://127.0.0.1:9:" in hansom("status").out
    config = simulated_file(other, server={"port": 19})
    assert "http://127.0.0.1:19:" in hansom("status", "--config", config).out
    monkeypatch.setenv("HANSOM_CONFIG", "gone.yaml")
    assert hansom("status").err == "hansom: no such file: gone.yaml\n"
    monkeypatch.setenv("HANSOM_CONFIG", "")
    assert "http://127.0.0.1:8000" in hansom("status").out, "the shipped one, from any folder"
