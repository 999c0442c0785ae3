"""Warming through a small server that answers like the gateway."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.cache_warm import request
from cli.main import app
from core.errors import HansomError
from core.free_port import free_port


class Endpoint(ThreadingHTTPServer):
    """Knows what it was asked before; `busy` requests are turned away first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.busy = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        self._answer(503, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server = self.server
        with server.lock:
            server.keys.add(self.headers["authorization"])
            if server.busy:
                server.busy -= 1
                self._answer(429, {"error": {"message": "busy"}}, retry="0")
                return
            known = body in server.bodies
            server.bodies.append(body)
        text = body["messages"][-1]["content"]
        if text == "bad":
            self._answer(400, {"error": {"message": "no such thing"}})
        else:
            cache = "off" if body["temperature"] else "exact" if known else "miss"
            self._answer(200, {"choices": []}, cache=cache)

    def _answer(self, status: int, body: object, cache: str = "", retry: str = "") -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(raw)))
        self.send_header("x-hansom-cache", cache)
        self.send_header("retry-after", retry)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def warm(path: Path, lines: list[object], url: str, *words: str) -> Result:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return CliRunner().invoke(app, ["cache", "warm", str(path), "--url", url, *words])


def test_new_known_and_uncached_answers_are_counted(tmp_path: Path, endpoint: Endpoint):
    lines = ["one", {"prompt": "two"}, "", "one", {"prompt": "hot", "temperature": 1}]
    done = warm(tmp_path / "x", lines, endpoint.url, "--json", "--at-once", "1")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told == {"new": 2, "hit": 1, "not_cached": 1, "failed": 0, "failures": []}
    assert endpoint.keys == {None}


def test_a_failure_stops_no_other_and_ends_in_1(tmp_path: Path, endpoint: Endpoint):
    lines = ["bad", "{broken", {"prompt": 5}, *(f"good {at}" for at in range(20))]
    done = warm(tmp_path / "x", lines, endpoint.url, "--json", "--api-key", "k")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["new"], told["failed"]) == (20, 3)
    assert [one["line"] for one in told["failures"]] == [1, 2, 3]
    assert "400: no such thing" in told["failures"][0]["error"]
    assert endpoint.keys == {"Bearer k"}


def test_people_see_which_lines_failed(tmp_path: Path, endpoint: Endpoint):
    done = warm(tmp_path / "x", ["good", "bad"], endpoint.url)
    assert done.exit_code == 1
    assert "1 new" in done.stdout and "1 failed" in done.stdout
    assert "line 2: 400: no such thing" in done.stderr


def test_a_busy_endpoint_is_asked_again(tmp_path: Path, endpoint: Endpoint):
    endpoint.busy = 3
    done = warm(tmp_path / "x", ["one"], endpoint.url, "--json")
    assert json.loads(done.stdout)["new"] == 1
    endpoint.busy = 50
    done = warm(tmp_path / "x", ["one"], endpoint.url, "--json")
    assert "429: busy" in json.loads(done.stdout)["failures"][0]["error"]


def test_the_endpoint_is_the_settings_own_where_none_is_named(tmp_path: Path, endpoint: Endpoint):
    config = tmp_path / "serve.yaml"
    shipped = (Path(__file__).parents[2] / "config" / "simulated.yaml").read_text()
    config.write_text(f"{shipped}\nserver: {{port: {endpoint.server_port}}}\n")
    (tmp_path / "x").write_text("one")
    words = ["cache", "warm", str(tmp_path / "x"), "--config", str(config)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert len(endpoint.bodies) == 1


def test_where_nothing_answers_it_says_what_to_start(tmp_path: Path):
    done = warm(tmp_path / "x", ["one"], f"http://127.0.0.1:{free_port()}")
    assert isinstance(done.exception, HansomError)
    assert "hansom serve" in done.exception.message


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("What?", {"messages": [{"role": "user", "content": "What?"}]}),
        ('"What?"', {"messages": [{"role": "user", "content": "What?"}]}),
        ('"A quote" is here', {"messages": [{"role": "user", "content": '"A quote" is here'}]}),
        ('{"prompt":"x","model":"large"}',
         {"model": "large", "messages": [{"role": "user", "content": "x"}]}),
        ('{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"prompt":"x"}}',
         {"messages": [{"role": "user", "content": "x"}]}),
        ('{"messages":[],"temperature":0.5,"stream":true,"stream_options":{}}',
         {"messages": [], "temperature": 0.5}),
    ],
)  # fmt: skip
def test_lines_of_each_kind_are_chat_bodies(line: str, body: dict[str, object]):
    made = request(7, line)
    assert made.body == {"model": "auto", "temperature": 0, **body}
    assert (made.number, made.error) == (7, "")


def test_a_batch_line_of_another_endpoint_is_refused():
    line = request(3, '{"url": "/v1/embeddings", "body": {"input": "x"}}')
    assert "/v1/embeddings is not asked" in line.error
