"""Web pages: none may call by default, those that are named may, and none poses as the gateway."""

from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from core.settings.cors import Cors
from deployments.gateway.cors import EXPOSED, rebound, with_cors
from tests.deployments.engines import Engine, answers
from tests.deployments.gateway.test_endpoint import BODY, CHAT, client, error_of
from tests.docs import pages

PAGE = "https://app.example.com"
ASKED = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-hansom-risk,x-stainless-os",
}


def cors_of(answer: httpx.Response) -> list[str]:
    return [name for name in answer.headers if name.startswith("access-control-")]


async def test_without_a_setting_no_page_is_allowed_anything(tmp_path: Path) -> None:
    async with client(tmp_path, Engine(answers())) as http:
        for origin in (PAGE, "null", "http://localhost:3000"):
            preflight = await http.options(CHAT, headers=ASKED | {"origin": origin})
            assert (preflight.status_code, preflight.content) == (204, b"")
            assert preflight.headers["allow"] == "OPTIONS, POST"
            assert cors_of(preflight) == []
            for path in ("/v1/models", "/healthz"):
                assert cors_of(await http.get(path, headers={"origin": origin})) == []
            answer = await http.post(CHAT, json=BODY, headers={"origin": origin})
            assert (answer.status_code, cors_of(answer)) == (200, [])


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"]
)
async def test_what_a_page_can_send_without_a_preflight_is_not_read(
    tmp_path: Path, kind: str
) -> None:
    engine = Engine(answers())
    async with client(tmp_path, engine) as http:
        sent = {"origin": PAGE, "content-type": kind}
        answer = await http.post(CHAT, content=b'{"model": "auto"}', headers=sent)
        assert answer.status_code == 415
        assert "application/json" in error_of(answer)["message"]
        assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert engine.asked == []


async def test_a_named_page_may_call_and_read_what_is_told(tmp_path: Path) -> None:
    server = {"cors": {"origins": [PAGE], "max_age_s": 60}}
    async with client(tmp_path, Engine(answers()), server=server) as http:
        preflight = await http.options(CHAT, headers=ASKED)
        assert preflight.status_code == 200
        allowed = preflight.headers
        assert allowed["access-control-allow-origin"] == PAGE
        assert "POST" in allowed["access-control-allow-methods"]
        granted = allowed["access-control-allow-headers"].lower()
        assert set(ASKED["access-control-request-headers"].split(",")) <= set(
            granted.replace(" ", "").split(",")
        )
        assert allowed["access-control-max-age"] == "60"
        assert "access-control-allow-credentials" not in allowed
        for body in (BODY, BODY | {"stream": True}, {}):
            answer = await http.post(CHAT, json=body, headers={"origin": PAGE})
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "x-hansom-tier" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"
        for origin in ("https://evil.example", PAGE + ".evil.example", "http://app.example.com"):
            foreign = await http.post(CHAT, json=BODY, headers={"origin": origin})
            assert "access-control-allow-origin" not in foreign.headers
            refused = await http.options(CHAT, headers=ASKED | {"origin": origin})
            assert refused.status_code == 400
            assert "access-control-allow-origin" not in refused.headers


async def test_every_page_may_call_where_the_setting_says_so(tmp_path: Path) -> None:
    server = {"cors": {"origins": ["*"]}}
    async with client(tmp_path, Engine(answers()), server=server) as http:
        answer = await http.post(CHAT, json=BODY, headers={"origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == "*"


def test_what_pages_may_read_are_the_documented_headers() -> None:
    told = set(pages.rows("docs/api.md", "response header"))
    assert set(EXPOSED) == told - {"x-accel-buffering"} | {"retry-after"}


@pytest.mark.parametrize(
    "origin",
    ["", "app.example.com", "https://*.example.com", "https://a.com/", "https://A.com", "null",
     "https://a.com/path", "https://user@a.com", "https://a b.com"],
)  # fmt: skip
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(ValueError, match="origins"):
        Cors.model_validate({"origins": [origin]})


@pytest.mark.parametrize(
    "origin", ["https://a.com", "http://localhost:3000", "app://obsidian.md", "tauri://localhost"]
)
def test_origins_of_pages_and_desktop_applications_are_taken(origin: str) -> None:
    assert Cors(origins=(origin,)).origins == (origin,)


def test_without_origins_the_application_itself_answers() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        return None

    assert with_cors(app, Cors()) is app


@pytest.mark.parametrize(
    ("origin", "host", "posing"),
    [
        ("http://evil.example:8000", "evil.example:8000", True),
        ("http://EVIL.example:8000", "evil.EXAMPLE:8000", True),
        ("http://localhost.evil.example", "localhost.evil.example", True),
        ("http://127.0.0.1.nip.io:8000", "127.0.0.1.nip.io:8000", True),
        ("http://evil.example:8000", "127.0.0.1:8000", False),
        ("http://localhost:8000", "localhost:8000", False),
        ("http://me.localhost:8000", "me.localhost:8000", False),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", False),
        ("http://[::1]:8000", "[::1]:8000", False),
        ("http://10.1.2.3", "10.1.2.3", False),
        ("null", "", False),
    ],
)
def test_a_page_poses_as_the_gateway_when_its_own_name_leads_here(
    origin: str, host: str, posing: bool
) -> None:
    assert rebound(origin, host) is posing


async def test_a_page_that_poses_as_a_keyless_gateway_is_refused(tmp_path: Path) -> None:
    sent = {"origin": "http://evil.example:8000", "host": "evil.example:8000"}
    engine = Engine(answers())
    async with client(tmp_path, engine) as http:
        answer = await http.post(CHAT, json=BODY, headers=sent)
        assert (answer.status_code, error_of(answer)["code"]) == (403, "foreign_origin")
        assert "server.cors.origins" in error_of(answer)["message"]
        assert engine.asked == []
    named = {"cors": {"origins": ["http://evil.example:8000"]}}
    async with client(tmp_path, Engine(answers()), server=named) as http:
        assert (await http.post(CHAT, json=BODY, headers=sent)).status_code == 200
    async with client(tmp_path, accounts={"keys": "required"}) as http:
        assert (await http.post(CHAT, json=BODY, headers=sent)).status_code != 403
