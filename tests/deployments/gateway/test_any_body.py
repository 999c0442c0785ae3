"""Whatever JSON comes as a body, the gateway has an answer that is no fault of its own."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deployments.gateway.body import MAX_DEPTH
from tests.deployments.engines import Engine, answers
from tests.deployments.gateway.test_body import nested
from tests.deployments.gateway.test_endpoint import app_of
from tests.deployments.rig import rig, settings_of
from tests.fakes import FakeAccounts, FakeClock

Post = Callable[..., httpx.Response]
BASES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]},
    "/v1/completions": {"model": "small", "prompt": "Hello"},
    "/v1/embeddings": {"model": "all-MiniLM-L6-v2", "input": "Hello"},
    "/v1/feedback": {"request_id": "r-1", "tier": "small", "right": 1},
}
FIELDS = [
    "model", "messages", "prompt", "input", "stream", "stream_options", "temperature", "top_p", "n",
    "max_tokens", "max_completion_tokens", "user", "tools", "tool_choice", "functions", "logprobs",
    "top_logprobs", "response_format", "metadata", "stop", "seed", "logit_bias", "priority",
    "encoding_format", "dimensions", "request_id", "tier", "right", "structured_outputs", "echo",
]  # fmt: skip
NUMBERS = st.integers() | st.integers(min_value=2**62, max_value=2**70) | st.floats()
ATOMS = (
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "\x00", "", "auto", "small", "user", "8", "1e999"])
)
NAMES = st.sampled_from([*FIELDS, "role", "content", "type", "text", "include_usage", "function"])
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional={"content": VALUES, "tool_calls": VALUES, "name": VALUES},
    ),
    max_size=3,
)
CHANGES = st.dictionaries(st.sampled_from(FIELDS), VALUES | MESSAGES, max_size=4)
RUNS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """One gateway with limits and an engine for all examples, each in the same event loop."""
    folder = tmp_path_factory.mktemp("any")
    budget = {"tokens": 10**15, "window": "month"}
    of = settings_of(accounts={"default": {"budgets": [budget]}})

    async def start(stack: AsyncExitStack) -> httpx.AsyncClient:
        store = FakeAccounts(FakeClock())
        engines = [Engine(answers())]
        path = await stack.enter_async_context(
            rig(folder, engines, engines, settings=of, accounts=store)
        )
        store.clock = path.clock
        transport = httpx.ASGITransport(app_of(path, of)[0], raise_app_exceptions=False)
        http = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        return await stack.enter_async_context(http)

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        http = runner.run(start(stack))

        def send(path: str, content: bytes, **headers: str) -> httpx.Response:
            sent = {"content-type": "application/json", "x-hansom-cache": "on"} | headers
            return runner.run(http.post(path, content=content, headers=sent))

        yield send
        runner.run(stack.aclose())


def expect_no_fault(answer: httpx.Response) -> None:
    """A success, or an error of the client's in OpenAI's shape."""
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", BASES)
@RUNS
@given(VALUES)
@example({})
@example([])
@example("")
@example(None)
def test_no_json_value_is_a_fault(post: Post, path: str, value: Any) -> None:
    expect_no_fault(post(path, json.dumps(value).encode()))


@pytest.mark.parametrize("path", BASES)
@RUNS
@given(CHANGES)
@example({"metadata": json.loads(nested(MAX_DEPTH - 1))})
@example({"metadata": json.loads(nested(300))})
@example({"max_tokens": 2**63})
@example({"max_tokens": 2**64 - 1, "n": 128})
@example({"max_completion_tokens": 10**30})
@example({"seed": 2**64 - 1, "temperature": -0.0})
@example({"prompt": [[]]})
@example({"prompt": [2**63]})
@example({"input": [""] * 3000})
@example({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]})
def test_no_field_of_a_body_is_a_fault(post: Post, path: str, changes: dict[str, Any]) -> None:
    expect_no_fault(post(path, json.dumps(BASES[path] | changes).encode()))


@pytest.mark.parametrize("path", BASES)
@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 254, 255, 300, 1023, 1025, 50_000])
def test_depth_is_refused_once_for_every_route(post: Post, path: str, levels: int) -> None:
    body = json.dumps(BASES[path])[:-1].encode() + b', "metadata": ' + nested(levels - 1) + b"}"
    answer = post(path, body)
    assert (answer.status_code == 400) is (levels > MAX_DEPTH)
    expect_no_fault(answer)


@pytest.mark.parametrize("path", BASES)
def test_a_compressed_body_is_taken_on_every_route(post: Post, path: str) -> None:
    raw = json.dumps(BASES[path]).encode()
    told = post(path, gzip.compress(raw), **{"content-encoding": "gzip"})
    assert told.status_code == post(path, raw).status_code in (200, 404)
    assert post(path, raw, **{"content-encoding": "br"}).status_code == 415
    assert post(path, raw, **{"content-encoding": "gzip"}).status_code == 400
    bomb = gzip.compress(b" " * 60_000_000)
    assert post(path, bomb, **{"content-encoding": "gzip"}).status_code == 413


@pytest.mark.parametrize("path", BASES)
@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"5", b'"a"', b"null", b"NaN", b"\xff\xfe", b'{"model": "\\ud800"}',
     b'{"model": "\xed\xa0\x80"}', b"\xef\xbb\xbf{}", b'{"model": NaN}', b'{"model": "auto",}'],
)  # fmt: skip
def test_what_is_no_json_object_is_a_bad_request(post: Post, path: str, raw: bytes) -> None:
    answer = post(path, raw)
    assert answer.status_code == 400
    expect_no_fault(answer)


def test_the_last_of_two_fields_of_one_name_is_the_one_for_all(post: Post) -> None:
    body = b'{"model": "gpt-9", "model": "small", "prompt": "a"}'
    answer = post("/v1/completions", body)
    assert (answer.status_code, answer.headers["x-hansom-tier"]) == (200, "small")
