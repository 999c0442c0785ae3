"""`hansom ask`: one answer, with what it took."""

import json
import uuid
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cli.ask import AskOptions, _facts
from cli.main import app
from core.errors import HansomError
from tests.deployments.serving import Serving, simulated, wait

ASKED = AskOptions(
    text="Paris.",
    tier="small",
    model="small-model",
    reason="easy; need 0.020 is below 0.135",
    difficulty=0.1234,
    cache="miss",
    request_id="r-1",
    input_tokens=12,
    output_tokens=3,
    cost_usd="0.000021",
    ttft_s=0.042,
    total_s=1.5,
)


def test_the_facts_are_tier_reason_tokens_cost_and_waits() -> None:
    assert _facts(ASKED, explain=False).strip() == (
        "small (small-model) · easy · cache miss · 12 in, 3 out · 0.000021 USD · "
        "TTFT 42 ms · total 1.50 s"
    )


def test_explaining_adds_the_reason_in_words_and_the_difficulty() -> None:
    told = _facts(ASKED, explain=True)
    assert "reason: need 0.020 is below 0.135" in told
    assert "difficulty: 0.123" in told
    assert "request id: r-1" in told


def test_where_nothing_answers_it_says_what_to_start(tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(simulated()))
    result = CliRunner().invoke(app, ["ask", "Hello", "--config", str(config)])
    assert isinstance(result.exception, HansomError)
    assert "Nothing answers at http://127.0.0.1:" in result.exception.message
    assert "(connection refused)" in result.exception.message
    assert "hansom serve" in result.exception.message


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_an_answer_as_json_has_the_text_and_all_it_took(hansom: Serving) -> None:
    question = ["ask", uuid.uuid4().hex, "--tier", "large", "--max-tokens", "4", "--json"]

    def ask() -> dict[str, object]:
        result = CliRunner().invoke(app, [*question, "--config", str(hansom.config)])
        assert result.exit_code == 0, result.output
        return dict(json.loads(result.stdout))

    first = ask()
    assert (first["text"], first["output_tokens"]) == (" cab" * 4, 4)
    assert (first["tier"], first["model"], first["cache"]) == ("large", "simulated-large", "miss")
    assert float(str(first["cost_usd"])) > 0
    assert 0 < float(str(first["ttft_s"])) <= float(str(first["total_s"]))
    wait(lambda: ask()["cache"] == "exact", 10)
    again = ask()
    assert (again["text"], again["cost_usd"]) == (first["text"], "0.000000")
    assert again["request_id"] != first["request_id"]


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_an_answer_in_a_terminal_is_followed_by_its_facts(hansom: Serving) -> None:
    words = ["ask", "Hello", "--explain", "--max-tokens", "4", "--url", hansom.url]
    result = CliRunner().invoke(app, words)
    text, *facts = result.stdout.splitlines()
    assert text == " cab" * 4
    assert "4 out" in facts[0]
    assert [line.partition(":")[0] for line in facts[1:]] == ["reason", "difficulty", "request id"]


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_model_that_does_not_exist_is_told_in_the_servers_words(hansom: Serving) -> None:
    result = CliRunner().invoke(app, ["ask", "Hello", "--tier", "huge", "--url", hansom.url])
    assert isinstance(result.exception, HansomError)
    assert "The model `huge` does not exist" in result.exception.message
