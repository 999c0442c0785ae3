"""A refusal for length is named, whichever of vLLM's checks raised it; capabilities are read."""

import inspect
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from core.capability import Capabilities
from deployments.tier.vllm_report import capabilities_of, name_length_errors

vllm = pytest.importorskip("vllm", reason="vLLM is not installed")


def get_max_tokens() -> None:
    raise ValueError("Eingabe zu lang")


def _validate_prompt_len() -> None:
    from vllm.exceptions import VLLMValidationError

    raise VLLMValidationError("Eingabe zu lang")


def another() -> None:
    raise ValueError("maximum context length")


def named() -> None:
    from vllm.exceptions import VLLMValidationError

    raise VLLMValidationError("no", parameter="seed")


@pytest.mark.parametrize(
    ("check", "param"),
    [
        (get_max_tokens, "input_tokens"),
        (_validate_prompt_len, "input_tokens"),
        (another, None),
        (named, "seed"),
    ],
)
async def test_a_refusal_for_length_is_named_by_the_check_that_raised_it(
    check: Any, param: str | None
) -> None:
    from vllm.entrypoints.serve.exception_handling.register import init_exception_handler

    app = FastAPI()
    app.state.args = SimpleNamespace(log_error_stack=False)
    app.add_api_route("/", check)
    init_exception_handler(app)
    name_length_errors(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        answer = await client.get("/")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_the_checks_are_where_they_were() -> None:
    from vllm.entrypoints.serve.utils import api_utils
    from vllm.renderers import params
    from vllm.v1.engine.input_processor import InputProcessor

    assert callable(api_utils.get_max_tokens)
    assert callable(InputProcessor._validate_prompt_len)
    source = inspect.getsource(params)
    assert 'parameter="input_tokens"' in source
    assert 'parameter="input_text"' in source


def engine(**config: Any) -> Any:
    base = {"is_multimodal_model": False, "skip_tokenizer_init": False, "max_logprobs": 20}
    return SimpleNamespace(model_config=SimpleNamespace(**base | {"max_model_len": 4096} | config))


def renderer(*, parser: Any = None, limits: dict[str, int] | None = None) -> Any:
    processor = SimpleNamespace(info=SimpleNamespace(allowed_mm_limits=limits or {}))
    inner = SimpleNamespace(mm_processor=processor, tokenizer=object())
    return SimpleNamespace(parser=parser, use_harmony=False, renderer=inner)


def test_a_plain_text_model_has_no_tools_and_no_images() -> None:
    assert capabilities_of(engine(), renderer()) == Capabilities(
        tools=False, structured_output=True, vision=False, audio=False, video=False,
        logprobs=20, context_tokens=4096,
    )  # fmt: skip


def test_a_parser_gives_tools_and_a_limit_above_nothing_gives_images() -> None:
    parser = SimpleNamespace(tool_parser_cls=object)
    told = capabilities_of(
        engine(is_multimodal_model=True, max_logprobs=-1),
        renderer(parser=parser, limits={"image": 1, "video": 0}),
    )
    assert (told.tools, told.vision, told.video, told.logprobs) == (True, True, False, None)
    only_reasoning = SimpleNamespace(tool_parser_cls=None)
    assert capabilities_of(engine(), renderer(parser=only_reasoning)).tools is False
