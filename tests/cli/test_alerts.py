"""`hansom alerts`: the rules, their figures, what fires, and a test of the webhook."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.main import app
from core.errors import HansomError
from core.ledger_line import Kind, Outcome
from ledger.alerts import store as alert_store
from ledger.alerts.states import Alert, AlertState, Phase, Rule
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.serving import simulated
from tests.ledger.lines import line


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HANSOM_HOME", str(tmp_path))
    return write(tmp_path, {"rules": {"ttft_p95": {"enabled": False}}})


def write(folder: Path, alerts: dict[str, Any]) -> Path:
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(simulated() | {"alerts": alerts}))
    return path


@pytest.fixture
def filled(config: Path, tmp_path: Path) -> Path:
    """A hundred requests of the last minute that were all tried twice; one alert fires."""
    store = SqlStore(sqlite_url(tmp_path / "ledger.sqlite3"))
    now_s = time.time() - 30
    for number in range(100):
        store.insert(
            [
                line(number, created_s=now_s, outcome=Outcome.ERROR),
                line(number, 1, kind=Kind.RETRY, created_s=now_s),
            ]
        )
    alert = Alert(Rule.RETRY_STORM, "all requests", 5.0, 0.4, 0.1, "40 % of attempts")
    with store.connect() as connection:
        alert_store.save(connection, [AlertState(alert, Phase.FIRING)])
    return config


def alerts(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["alerts", *words, "--config", str(config)])


def test_json_has_every_rule_its_settings_and_its_readings(filled: Path):
    told = json.loads(alerts(filled, "--json").stdout)
    rules = {one["rule"]: one for one in told["rules"]}
    assert set(rules) == set(Rule)
    assert rules["ttft_p95"]["enabled"] is False and rules["ttft_p95"]["readings"] == []
    (storm,) = rules["retry_storm"]["readings"]
    assert (storm["state"], storm["value"], storm["counted"]) == ("firing", 0.5, 200)
    (spending,) = rules["spend_rate"]["readings"]
    assert (spending["state"], spending["counted"]) == ("fine", 100)
    assert [(one["rule"], one["since_s"]) for one in told["firing"]] == [("retry_storm", 5.0)]
    assert told["webhook"] is False


def test_the_terminal_says_which_fire_and_which_are_off(filled: Path):
    told = alerts(filled).stdout
    rows = {row.split()[0]: row for row in told.splitlines() if row.split()}
    assert "firing" in rows["retry_storm"] and "200 of 50" in rows["retry_storm"]
    assert "off" in rows["ttft_p95"] and "nothing yet" in rows["hit_rate_fall"]
    assert "1 firing; no webhook is set" in told


def test_what_fires_without_traffic_is_shown_too(filled: Path, tmp_path: Path):
    alert = Alert(Rule.TTFT_P95, "tier gone", 5.0, 9.0, 5.0, "slow")
    with SqlStore(sqlite_url(tmp_path / "ledger.sqlite3")).connect() as connection:
        alert_store.save(connection, [AlertState(alert, Phase.FIRING)])
    (row,) = (row for row in alerts(filled).stdout.splitlines() if row.startswith("ttft_p95"))
    assert "tier gone" in row and "firing" in row


def test_too_few_requests_are_told_as_such(config: Path, tmp_path: Path):
    SqlStore(sqlite_url(tmp_path / "ledger.sqlite3")).insert([line(1, created_s=time.time() - 9)])
    told = json.loads(alerts(config, "--json").stdout)
    assert told["rules"][0]["readings"][0]["state"] == "too few"


def test_before_the_first_start_it_says_how_a_ledger_begins(config: Path):
    error = alerts(config).exception
    assert isinstance(error, HansomError) and "There is no ledger at" in error.message


class Taking(BaseHTTPRequestHandler):
    """Keeps what it is sent on its server."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append(json.loads(raw))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def server() -> Iterator[Any]:
    serving: Any = HTTPServer(("127.0.0.1", 0), Taking)
    serving.bodies, serving.status = [], 200
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def test_a_test_message_reaches_the_webhook(config: Path, tmp_path: Path, server: Any):
    path = write(tmp_path, {"webhook_url": f"http://127.0.0.1:{server.server_port}/hook"})
    assert "took the test message" in alerts(path, "test").stdout
    assert server.bodies[0]["alerts"] == [] and "test" in server.bodies[0]["text"]
    assert json.loads(alerts(path, "test", "--json").stdout) == {"sent": True}
    server.status = 404
    error = alerts(path, "test").exception
    assert isinstance(error, HansomError) and "status 404" in error.message


def test_without_a_webhook_a_test_is_an_error(config: Path):
    error = alerts(config, "test").exception
    assert isinstance(error, HansomError) and "alerts.webhook_url" in error.message
