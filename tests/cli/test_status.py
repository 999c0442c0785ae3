"""`hansom status`: what runs, what is wrong, and what to do, from the endpoint's own words."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.status import Status, TierStatus, judge
from core.files.shipped import shipped
from core.settings.load import load
from tests.cli.commands import hansom
from tests.deployments.serving import Serving

SETTINGS = load(shipped("simulated.yaml"))
CONFIG = ("--config", str(shipped("simulated.yaml")))
GOOD: dict[str, Any] = {
    "ready": True,
    "tiers": {"small": {"running_replicas": 2}, "large": {"running_replicas": 1}},
    "router": True,
    "ledger": True,
    "redis": True,
}


def judged(targets: dict[str, int | None] | None = None, **changes: Any) -> Status:
    return judge("http://x", GOOD | changes, targets or {}, SETTINGS)


@contextmanager
def endpoint(ready: object, scaling: object = {"tiers": {}}) -> Iterator[str]:
    """Something that answers with these two."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = {"/readyz": ready, "/scalez": scaling}[self.path]
            self.send_response(200 if isinstance(ready, dict) and ready.get("ready") else 503)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_all_is_well_where_every_part_answers() -> None:
    found = judged({"small": 2})
    assert found.ready and found.problems == ()
    assert found.tiers == (TierStatus("small", 2, 2), TierStatus("large", 1, 1))


def test_a_tier_with_too_few_replicas_is_a_problem_with_its_numbers() -> None:
    (problem,) = judged({"small": 4}).problems
    assert problem.what == "tier small has 2 of 4 replicas"
    assert "hansom doctor" in problem.advice


def test_a_tier_that_sleeps_is_none() -> None:
    tiers = {"small": {"running_replicas": 0}, "large": {"running_replicas": 1}}
    assert judged({"small": 0}, tiers=tiers).problems == ()


def test_a_tier_of_other_settings_has_no_wanted_number() -> None:
    found = judged(tiers={"huge": {"running_replicas": 1}})
    assert found.tiers == (TierStatus("huge", 1, None),) and not found.problems


@pytest.mark.parametrize("part", ["router", "redis", "ledger"])
def test_each_part_that_is_down_is_a_problem(part: str) -> None:
    (problem,) = judged(**{part: False}).problems
    assert part in problem.what.lower() and problem.advice


def test_the_exit_code_says_whether_something_is_wrong() -> None:
    with endpoint(GOOD, {"tiers": {"small": {"target": 2}}}) as url:
        ran = hansom("status", "--url", f"{url}/", *CONFIG)
        assert ran.code == 0, ran
        assert f"Hansom at {url}: ready" in ran.out and "ledger: drains" in ran.out
    with endpoint(GOOD | {"redis": False}) as url:
        ran = hansom("status", "--url", url, "--json", *CONFIG)
        assert ran.code == 1
        found = json.loads(ran.out)
        assert found["redis"] is False and len(found["problems"]) == 1
        assert found["tiers"][0] == {"name": "small", "running": 2, "wanted": 1}


def test_nothing_there_is_told_with_its_address_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANSOM_HOME", str(tmp_path))
    ran = hansom("status", "--url", "http://127.0.0.1:9", *CONFIG)
    assert ran.code == 1
    assert "http://127.0.0.1:9: connection refused" in ran.out and "hansom serve" in ran.out
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "serve.json").write_text('{"pid": 7, "url": "http://127.0.0.1:8123"}')
    ran = hansom("status", "--url", "http://127.0.0.1:9", "--json", *CONFIG)
    found = json.loads(ran.out)
    assert (found["answers"], found["ready"]) == (False, False)
    assert "http://127.0.0.1:8123 (process 7)" in found["problems"][0]["advice"]


@pytest.mark.parametrize("ready", [[], {"status": "fine"}, {"tiers": 3, "ready": True}])
def test_another_program_at_the_address_is_told(ready: object) -> None:
    with endpoint(ready) as url:
        ran = hansom("status", "--url", url, *CONFIG)
        assert ran.code == 1 and "is not Hansom" in ran.out


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_running_hansom_is_ready(hansom: Serving) -> None:
    from tests.cli.commands import hansom as run

    ran = run("status", "--json", "--config", hansom.config)
    assert ran.code == 0, ran
    found = json.loads(ran.out)
    assert found["url"] == hansom.url and found["ready"] and not found["problems"]
    assert {tier["name"]: tier["running"] for tier in found["tiers"]} == {"small": 1, "large": 1}
