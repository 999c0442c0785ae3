"""Models, health, and what is said of a path or a method that is not there."""

from pathlib import Path

import pytest

from deployments.gateway.catalogue import EMBEDDER_TOKENS, models_of
from tests.deployments.gateway.test_endpoint import CHAT, client, error_of
from tests.deployments.rig import settings_of
from text.embed import HEAD_TOKENS, TAIL_TOKENS

ROUTES = ["/v1/models", "/v1/models/auto", "/health", "/healthz", "/readyz", "/metrics", "/scalez"]


async def test_each_listed_model_is_found_by_its_id(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        listed = (await http.get("/v1/models")).json()["data"]
        assert [one["id"] for one in listed][:3] == ["auto", "small", "small-model"]
        for one in listed:
            assert (await http.get(f"/v1/models/{one['id']}")).json() == one
            assert one["object"] == "model"
            assert one["created"] > 1_700_000_000
        assert (await http.get("/v1/models/")).json()["data"] == listed


async def test_a_model_that_is_not_there_is_openais_error(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        for name in ("gpt-4o", "org/model", "auto/", "%00", "a" * 5000):
            answer = await http.get(f"/v1/models/{name}")
            assert (answer.status_code, error_of(answer)["code"]) == (404, "model_not_found")
            assert "`small`" in error_of(answer)["message"]
            assert len(answer.content) < 1000


async def test_a_models_name_may_have_slashes(tmp_path: Path) -> None:
    tiers = [
        tier.model_dump() | {"model": "Qwen/Qwen2.5-7B" if tier.name == "large" else tier.model}
        for tier in settings_of().tiers
    ]
    async with client(tmp_path, tiers=tiers) as http:
        for path in ("Qwen/Qwen2.5-7B", "Qwen%2FQwen2.5-7B"):
            assert (await http.get(f"/v1/models/{path}")).json()["id"] == "Qwen/Qwen2.5-7B"


def test_a_model_tells_its_context_where_it_is_known() -> None:
    simulated = [tier.model_dump() for tier in settings_of().tiers]
    simulated[0]["engine"] |= {"context_tokens": 1024}
    models = models_of(settings_of(tiers=simulated), 7)
    told = {name: one["max_model_len"] for name, one in models.items()}
    assert told == {
        "auto": 8192, "small": 1024, "small-model": 1024, "large": 8192, "large-model": 8192,
        "all-MiniLM-L6-v2": EMBEDDER_TOKENS,
    }  # fmt: skip
    assert EMBEDDER_TOKENS == HEAD_TOKENS + TAIL_TOKENS
    real = {"engine": {"kind": "vllm", "args": {}}, "source": {"kind": "path", "path": "/w"}}
    models = models_of(settings_of(tiers=[simulated[0], simulated[1] | real]), 7)
    assert (models["large"]["max_model_len"], models["auto"]["max_model_len"]) == (None, None)
    real["engine"] = {"kind": "vllm", "args": {"max_model_len": 4096}}
    models = models_of(settings_of(tiers=[simulated[0], simulated[1] | real]), 7)
    assert (models["large"]["max_model_len"], models["auto"]["max_model_len"]) == (4096, 4096)


async def test_models_are_for_those_who_may_ask(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        for path in ("/v1/models", "/v1/models/auto"):
            for headers in ({"authorization": "Basic abc"}, {"x-api-key": ""}):
                refused = await http.get(path, headers=headers)
                assert (refused.status_code, error_of(refused)["code"]) == (401, "invalid_api_key")
                assert refused.headers["www-authenticate"] == 'Bearer realm="hansom"'
            assert (await http.get(f"{path}?api-key=sk-1")).status_code == 401
            two = [("x-api-key", "a"), ("x-api-key", "b")]
            assert (await http.get(path, headers=two)).status_code == 401


@pytest.mark.parametrize("path", ROUTES)
async def test_every_get_is_answered_to_head_and_options_too(tmp_path: Path, path: str) -> None:
    async with client(tmp_path) as http:
        assert (await http.head(path)).status_code == (await http.get(path)).status_code
        options = await http.options(path)
        assert (options.status_code, options.content) == (204, b"")
        assert options.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_health_has_two_names(tmp_path: Path) -> None:
    async with client(tmp_path, ready=False) as http:
        for path in ("/health", "/healthz"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "OPTIONS, POST"),
        ("HEAD", CHAT, "OPTIONS, POST"),
        ("PUT", "/v1/embeddings", "OPTIONS, POST"),
        ("DELETE", "/v1/models/auto", "GET, HEAD, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    tmp_path: Path, method: str, path: str, allow: str
) -> None:
    async with client(tmp_path) as http:
        answer = await http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)
        if method != "HEAD":
            assert f"send one of {allow}" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/chat/completions", "Did you mean /v1/chat/completions? The base URL"),
        ("/v1/v1/models", "Did you mean /v1/models?"),
        ("/embeddings/", "Did you mean /v1/embeddings?"),
        ("/v1/responses", "There are /v1/chat/completions, "),
        ("/" + "a" * 3000, "There are "),
        ("/v1/%ff%00", "There are "),
    ],
)
async def test_a_path_that_is_not_there_is_told_what_is(
    tmp_path: Path, path: str, hint: str
) -> None:
    async with client(tmp_path) as http:
        for method in ("GET", "POST", "OPTIONS"):
            answer = await http.request(method, path)
            assert (answer.status_code, error_of(answer)["code"]) == (404, "unknown_route")
            assert hint in error_of(answer)["message"]
            assert len(answer.content) < 800
