"""The HTTP endpoint: OpenAI's routes and shapes, whatever comes in and whatever goes wrong."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from core.call import Endpoint
from core.settings.load import Settings
from deployments.gateway.admission import Admission
from deployments.gateway.cors import with_cors
from deployments.gateway.embeddings import Embeddings
from deployments.gateway.endpoint import Application, Generation, Routes
from deployments.gateway.feedback import Feedback
from tests.deployments.engines import Engine, answers, chunks, plays, refuses, stalls
from tests.deployments.rig import Rig, rig, settings_of
from tests.ledger.lines import until

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
JSON = {"content-type": "application/json"}
RAW_JSON = [(b"content-type", b"application/json")]
BODY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


async def scrape() -> str:
    return "hansom_x 1\n"


def app_of(path: Rig, settings: Settings, *, ready: bool = True) -> tuple[Starlette, Admission]:
    admission = Admission(settings, path.recorder.accounts)
    limit = settings.limits.max_body_bytes
    chat, completion = (
        Generation(one, admission, path.pipeline, path.recorder.metrics, path.clock, limit)
        for one in (Endpoint.CHAT, Endpoint.COMPLETION)
    )

    async def is_ready() -> dict[str, Any]:
        return {"ready": ready, "redis": False}

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        yield

    guarded = (admission, path.recorder.metrics, path.clock, limit)
    embeddings = Embeddings(path.recorder, path.router, 1.0, *guarded)
    feedback = Feedback(settings, path.router, None, 1.0, *guarded)
    routes = Routes(settings, is_ready, scrape, path.recorder.accounts)
    return Application(chat, completion, embeddings, feedback, routes, lifespan), admission


@asynccontextmanager
async def client(
    folder: Path, *engines: Engine, ready: bool = True, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose requests go into the application without a network."""
    of = settings_of(**settings)
    async with rig(folder, engines, settings=of) as path:
        app, admission = app_of(path, of, ready=ready)
        front = with_cors(app, of.server.cors)
        transport = httpx.ASGITransport(front, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hansom") as one:
            yield one
        assert admission.in_flight == 0, "every place was given back"


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    return dict(error)


async def test_answers_plain_and_streamed_come_with_their_headers(tmp_path: Path) -> None:
    async with client(tmp_path, Engine(answers())) as http:
        plain = await http.post(CHAT, json=BODY)
        assert (plain.status_code, plain.headers["x-hansom-tier"]) == (200, "small")
        assert int(plain.headers["content-length"]) == len(plain.content)
        stream = await http.post(CHAT, json=BODY | {"stream": True})
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/v1/nothing", "GET", 404), ("/", "GET", 404), (CHAT, "GET", 405), ("/healthz", "PUT", 405)],
)
async def test_an_unknown_route_is_an_error_in_openais_shape(
    tmp_path: Path, path: str, method: str, status: int
) -> None:
    async with client(tmp_path) as http:
        answer = await http.request(method, path)
        assert answer.status_code == status
        assert error_of(answer)["type"] == "invalid_request_error"
        assert path in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("content", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b"{}", 400, "model"),
        (b'{"model": "gpt-4o", "messages": [{"role": "user"}]}', 404, "model"),
        (b'{"model": "auto", "messages": [{"role": "user"}], "n": 0}', 400, "n"),
        (b"x" * 2000, 413, None),
    ],
)
async def test_a_wrong_body_is_an_error_in_openais_shape(
    tmp_path: Path, content: bytes, status: int, param: str | None
) -> None:
    async with client(tmp_path, limits={"max_body_bytes": 1024}) as http:
        answer = await http.post(CHAT, content=content, headers=JSON)
        assert (answer.status_code, error_of(answer)["param"]) == (status, param)
        assert error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("header", "value"),
    [("x-hansom-risk", "huge"), ("x-hansom-cache", "maybe"), ("x-hansom-lane", "slow")],
)
async def test_a_wrong_header_is_named(tmp_path: Path, header: str, value: str) -> None:
    async with client(tmp_path) as http:
        answer = await http.post(CHAT, json=BODY, headers={header: value})
        assert (answer.status_code, error_of(answer)["param"]) == (400, header)


@pytest.mark.parametrize(
    ("status", "told", "kind"), [(500, 502, "server_error"), (503, 503, "server_error")]
)
async def test_a_failed_engine_is_an_error_in_openais_shape(
    tmp_path: Path, status: int, told: int, kind: str
) -> None:
    async with client(tmp_path, Engine(refuses(status))) as http:
        for stream in (False, True):
            answer = await http.post(CHAT, json=BODY | {"stream": stream})
            assert (answer.status_code, error_of(answer)["type"]) == (told, kind)
            assert ("retry-after" in answer.headers) is (told == 503)


async def test_one_request_too_many_is_told_when_to_come_back(tmp_path: Path) -> None:
    engine = Engine(answers(wait_s=0.5))
    limits = {"max_in_flight": 2, "retry_after_s": 4}
    async with client(tmp_path, engine, limits=limits) as http:
        taken = [asyncio.create_task(http.post(CHAT, json=BODY)) for _ in range(2)]
        await until(lambda: len(engine.asked) == 2)
        answer = await http.post(TEXT, json={"model": "auto", "prompt": "x"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "4")
        assert error_of(answer)["type"] == "rate_limit_error"
        assert [one.status_code for one in await asyncio.gather(*taken)] == [200, 200]


async def test_a_fault_of_our_own_tells_nothing_but_that_it_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("hansom"), "propagate", True)
    async with client(tmp_path, Engine(plays([b"[]"]))) as http:
        answer = await http.post(CHAT, json=BODY)
    assert (answer.status_code, error_of(answer)["code"]) == (500, "internal")
    assert "AttributeError" not in answer.text
    assert any(record.exc_info for record in caplog.records if record.msg == "request_failed")


async def test_every_request_is_one_event_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, root = io.StringIO(), logging.getLogger("hansom")
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(written)])
    monkeypatch.setattr(root, "level", logging.INFO)
    logging.getLogger("hansom.request").manager._clear_cache()
    secret = "the prompt itself"
    async with client(tmp_path, Engine(answers())) as http:
        turn = [{"role": "user", "content": secret}]
        for body in (BODY | {"messages": turn}, {"model": secret, "messages": turn}):
            await http.post(CHAT, json=body, headers={"x-request-id": "r-7"})
    events = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [one["status"] for one in events if one["event"] == "request"] == [200, 404]
    assert {one["request_id"] for one in events} == {"r-7"}
    assert secret not in written.getvalue()


async def test_models_are_auto_tiers_models_and_the_embedder(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        listed = (await http.get("/v1/models")).json()
    assert listed["object"] == "list"
    names = ["auto", "small", "small-model", "large", "large-model", "all-MiniLM-L6-v2"]
    assert [one["id"] for one in listed["data"]] == names


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_ready_and_live_are_two_questions(tmp_path: Path, ready: bool, status: int) -> None:
    async with client(tmp_path, ready=ready) as http:
        assert (await http.get("/readyz")).status_code == status
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/metrics")).text == "hansom_x 1\n"


class Leaving:
    """A client that sends a streamed request, takes some of what comes, and hangs up."""

    def __init__(self, after_bytes: int) -> None:
        self.sent: list[dict[str, Any]] = []
        self._after_bytes = after_bytes
        raw = json.dumps(BODY | {"stream": True}).encode()
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": raw, "more_body": False})

    def start(self, path: Rig) -> asyncio.Task[None]:
        scope = {"type": "http", "method": "POST", "path": CHAT, "headers": RAW_JSON}
        app, _ = app_of(path, settings_of())
        return asyncio.create_task(app(scope, self._messages.get, self._send))

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if sum(len(one.get("body", b"")) for one in self.sent) >= self._after_bytes:
            await asyncio.sleep(60)


@pytest.mark.parametrize("how", ["hangs up", "is cut off by a retiring replica"])
@pytest.mark.parametrize("after_bytes", [0, 1], ids=["before the head", "after a token"])
async def test_a_client_that_leaves_ends_the_engines_work(
    tmp_path: Path, after_bytes: int, how: str
) -> None:
    engine = Engine(plays(chunks([" a"])[:2], then="stall"))
    async with rig(tmp_path, [engine]) as path:
        client = Leaving(after_bytes)
        task = client.start(path)
        await until(lambda: len(client.sent) > after_bytes)
        if how == "hangs up":
            client.leave()
            await task
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with asyncio.timeout(2):
            await engine.left.wait()
        assert await path.told() == [("small", "cancelled", "cancelled", None)]
        labels = {"endpoint": "chat/completions", "status": "200"}
        assert path.recorder.metrics.registry.get_sample_value("hansom_requests_total", labels) == 1


async def test_a_client_that_leaves_while_the_engine_thinks_is_counted_as_such(
    tmp_path: Path,
) -> None:
    engine = Engine(stalls)
    async with rig(tmp_path, [engine]) as path:
        client = Leaving(1)
        task = client.start(path)
        await until(lambda: engine.asked)
        client.leave()
        await task
        assert client.sent == [], "there is nobody to answer"
        labels = {"endpoint": "chat/completions", "status": "499"}
        assert path.recorder.metrics.registry.get_sample_value("hansom_requests_total", labels) == 1


async def test_half_a_body_is_not_answered(tmp_path: Path) -> None:
    async with rig(tmp_path, [engine := Engine(answers())]) as path:
        client = Leaving(1)
        client._messages.get_nowait()
        client.leave()
        await client.start(path)
        assert (client.sent, engine.asked) == ([], [])
