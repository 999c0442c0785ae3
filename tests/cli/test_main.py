"""`hansom`: mistakes that users can mend are one line, and its exit code says how it went."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app, run
from tests.deployments.serving import HANSOM, ROOT, Serving, simulated


def told(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of a command run as the entry point runs it."""
    monkeypatch.setattr(sys, "argv", ["hansom", *words])
    with pytest.raises(SystemExit) as caught:
        run()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("command", ["serve", "ask", "ledger tail", "ledger report"])
def test_a_bad_setting_stops_with_its_file_and_field(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.setenv("HANSOM_HOME", str(tmp_path))
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(simulated(limits={"max_in_flight": 0})))
    words = [*command.split(), *(["Hello"] if command == "ask" else [])]
    assert told(monkeypatch, *words, "--config", str(config)) == 1
    said = capsys.readouterr().err
    assert f"{config} is not valid:" in said
    assert "limits.max_in_flight: must be 1 or more (got 0)" in said
    assert "Traceback" not in said


def test_a_file_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(monkeypatch, "serve", "--config", "nowhere.yaml") == 1
    assert "nowhere.yaml" in capsys.readouterr().err


def test_wrong_usage_is_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, "drive") == 2


def test_every_command_is_in_the_help_and_has_a_line_of_its_own() -> None:
    for words, commands in (([], ["serve", "ask", "doctor", "ledger"]), (["ledger"], ["tail"])):
        shown = CliRunner().invoke(app, [*words, "--help"]).stdout
        for command in commands:
            assert re.search(rf"{command} +\w", shown)


def test_help_does_not_wait_for_ray_or_vllm() -> None:
    """Seconds of imports before the first word would make the command line feel broken."""
    script = (
        "import cli.main, sys; print([m for m in ('ray', 'vllm', 'openai') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_second_serve_says_who_runs(hansom: Serving) -> None:
    done = subprocess.run(
        [HANSOM, "serve", "--config", hansom.config],
        cwd=ROOT, env=hansom.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert f"already running at {hansom.url} (process {hansom.pid})" in said


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_serve_says_where_it_is_and_what_can_be_asked_for(hansom: Serving) -> None:
    assert hansom.ready["url"] == hansom.url
    tiers = ["small", "simulated-small", "large", "simulated-large"]
    assert hansom.ready["models"] == ["auto", *tiers]
    assert 0 < hansom.ready["ready_s"] < 180
