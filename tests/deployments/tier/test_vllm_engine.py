"""How a tier's engine is configured, and what it answers a request that is too deep."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from core.errors import HansomError
from core.settings.load import Tier
from deployments.tier.vllm_engine import answer_too_deep, server_arguments
from tests.deployments.rig import settings_of

pytest.importorskip("vllm", reason="the serving environment has vLLM")


def tier_of(**args: Any) -> Tier:
    (tier, _) = settings_of().tiers
    engine = {"kind": "vllm", "args": args}
    source = {"kind": "path", "path": "/weights"}
    return Tier.model_validate(tier.model_dump() | {"engine": engine, "source": source})


def test_one_library_compiles_all_structured_output_unless_another_is_set(tmp_path: Any) -> None:
    from vllm.config import StructuredOutputsConfig

    told = server_arguments(tier_of(), tmp_path, 1000.0).structured_outputs_config
    assert told == StructuredOutputsConfig(backend="xgrammar")
    other = tier_of(structured_outputs_config={"backend": "guidance"})
    told = server_arguments(other, tmp_path, 1000.0).structured_outputs_config
    assert told == StructuredOutputsConfig(backend="guidance")


def test_an_argument_that_vllm_does_not_know_stops_the_start(tmp_path: Any) -> None:
    with pytest.raises(HansomError, match="max_modle_len"):
        server_arguments(tier_of(max_modle_len=5), tmp_path, 1000.0)


async def test_json_in_a_text_that_is_too_deep_is_the_clients_error() -> None:
    from vllm.entrypoints.serve.exception_handling.register import init_exception_handler

    app = FastAPI()
    init_exception_handler(app)
    app.middleware_stack = app.build_middleware_stack()  # as it is when vLLM hands it over
    answer_too_deep(app)

    @app.post("/")
    async def read() -> Any:
        return json.loads("[" * 100_000)

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:
        answer = await http.post("/")
    assert answer.status_code == 400
    assert "nested too deeply" in answer.json()["error"]["message"]
