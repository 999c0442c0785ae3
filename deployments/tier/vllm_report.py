"""Read a started vLLM engine's capabilities, and why it refuses a prompt.

Promises: capabilities are read from the objects that will answer, not from the settings; a refusal
for length has a `param` by which it is known, whatever its words.
Not covered: refusals of tools and images, which the capabilities explain.
"""

from typing import Any

from core.capability import Capabilities

# Where vLLM refuses a length without naming it: prompts that images make longer than their text.
_LENGTH_CHECKS = frozenset({"get_max_tokens", "_validate_prompt_len"})


def capabilities_of(llm: Any, renderer: Any) -> Capabilities:
    """The capabilities of a vLLM engine, `llm`, whose chats `renderer` reads.

    Both are vLLM's; `tests/live/test_real_small.py` fails when they have moved.
    """
    config = llm.model_config
    processor = renderer.renderer.mm_processor if config.is_multimodal_model else None
    limits = processor.info.allowed_mm_limits if processor is not None else {}
    return Capabilities(
        tools=_has_tools(renderer),
        structured_output=not config.skip_tokenizer_init,
        vision=limits.get("image", 0) > 0,
        audio=limits.get("audio", 0) > 0,
        video=limits.get("video", 0) > 0,
        logprobs=None if config.max_logprobs < 0 else config.max_logprobs,
        context_tokens=config.max_model_len,
    )


def _has_tools(renderer: Any) -> bool:
    """Whether vLLM takes `tools`: by a parser, a Mistral tokenizer or the Harmony format."""
    from vllm.utils.mistral import is_mistral_tokenizer

    parsed = renderer.parser is not None and renderer.parser.tool_parser_cls is not None
    return bool(parsed or renderer.use_harmony or is_mistral_tokenizer(renderer.renderer.tokenizer))


def name_length_errors(app: Any) -> None:
    """Have vLLM's application name `input_tokens` in every refusal of a prompt for its length.

    Where it does not, the error is known by the check that raised it.
    """
    from vllm.exceptions import VLLMError, VLLMValidationError

    for kind in (VLLMError, ValueError):
        answer = app.exception_handlers[kind]

        async def named(request: Any, error: Exception, answer: Any = answer) -> Any:
            if getattr(error, "parameter", None) is None and _raised_in(error) in _LENGTH_CHECKS:
                error = VLLMValidationError(str(error), parameter="input_tokens")
            return await answer(request, error)

        app.exception_handler(kind)(named)


def _raised_in(error: Exception) -> str:
    """The name of the function that raised an error."""
    trace, name = error.__traceback__, ""
    while trace is not None:
        name, trace = trace.tb_frame.f_code.co_name, trace.tb_next
    return name
