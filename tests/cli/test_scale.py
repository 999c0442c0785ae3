"""`hansom scale explain`: the decision, what it saw, and the last changes, in words and as JSON."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from core.errors import HansomError

LOAD = {
    "id": "abc", "at_s": 99.8, "started_s": 5.0, "running": 3, "waiting": 2, "waiting_tokens": 900,
    "kv_use_ratio": 0.25, "preemptions": 1, "input_tokens_per_s": 10.0, "output_tokens_per_s": 20.0,
    "ttft_s": 0.5, "tpot_s": None, "batch_running": 0, "batch_waiting": 2,
}  # fmt: skip
RECORD: dict[str, Any] = {
    "tier": "large", "target": 2, "errors": 1, "error": "ValueError: odd", "at_s": 100.0,
    "wanted": {"replicas": 3, "code": "rate", "reason": "work of 2.10"}, "lead_s": 4.0,
    "profile": "p", "within_share": 0.9812, "headroom_level": 0.75, "decisions": {"rate": 4},
    "view": {
        "now_s": 100.0, "target": 2, "ready": [LOAD, LOAD | {"id": "new", "at_s": 0.0}],
        "starting": [99.0], "traffic": {"held": 4, "held_tokens": 70},
    },
    "changes": [{"at_s": 1.0, "before": 0, "wanted": 1, "code": "wake", "reason": "one came"}],
}  # fmt: skip


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = {"tiers": {"large": RECORD, "small": {"tier": "small", "target": 1}}}
            self.send_response(200 if self.path == "/scalez" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def explain(url: str, *words: str) -> Result:
    told = ["scale", "explain", *words, "--url", url]
    return CliRunner().invoke(app, told, catch_exceptions=True)


def test_it_says_what_was_decided_why_and_on_what(url: str) -> None:
    told = explain(url).stdout
    for words in (
        "large: 3 wanted (rate)", "because work of 2.10", "2 ready, 1 starting, which takes 4.0 s",
        "98.1% of calls within the SLO over about four hours", "4 calls held with 70 prompt tokens",
        "abc: 3 running, 2 waiting (2 of the batch lane), 900 tokens to prefill",
        "KV 25%", "TTFT 0.500 s", "1 preemptions", "heard 0.2 s before", "new: has told nothing",
        "1 decisions failed and changed nothing; last: odd", "0 to 1 (wake): one came",
        "small: no decision yet, 1 replicas",
    ):  # fmt: skip
        assert words in told, words


def test_one_tier_as_json_is_its_record(url: str) -> None:
    assert json.loads(explain(url, "large", "--json").stdout) == {"tiers": {"large": RECORD}}


def test_a_tier_that_does_not_scale_is_told(url: str) -> None:
    error = explain(url, "huge").exception
    assert isinstance(error, HansomError)
    assert "large, small" in error.message


def test_nobody_there_is_told() -> None:
    error = explain("http://127.0.0.1:1").exception
    assert isinstance(error, HansomError)
    assert "connection refused" in error.message
