"""A real vLLM engine: `AsyncLLM` with vLLM's own OpenAI application on top.

Chat templates, tools, structured output, log-probabilities, stop, seed, n and usage are vLLM's.
Nothing here parses a request. vLLM is imported when an engine starts and not before, so that the
gateway and the tests that need no model never pay for it.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, generate_latest

from core.call import TierSignal
from core.errors import HansomError
from core.settings import Tier, VllmEngine
from deployments.meter import Meter, note_ends
from deployments.weights import engine_arguments

_SIGNALS = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv_use_ratio",
}


class Vllm:
    """One vLLM engine for one tier; `folder` holds its weights."""

    def __init__(self, tier: Tier, folder: Path) -> None:
        self._tier = tier
        self._folder = folder
        self._llm: Any = None
        self.meter: Meter

    async def start(self) -> Any:
        """Load the model and return vLLM's FastAPI application, metered."""
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state
        from vllm.entrypoints.launchers.app import build_app
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        args = server_arguments(self._tier, self._folder)
        config = AsyncEngineArgs.from_cli_args(args).create_engine_config(
            UsageContext.OPENAI_API_SERVER
        )
        self._llm = AsyncLLM.from_vllm_config(config, usage_context=UsageContext.OPENAI_API_SERVER)
        tasks = await self._llm.get_supported_tasks()
        app = build_app(args, tasks, self._llm.model_config)
        await init_app_state(self._llm, app.state, args, tasks)
        self.meter = meter = Meter(app)
        note_ends(self._llm.output_processor, lambda id, took: meter.note(meter.find(id), took))
        return meter

    async def check_health(self) -> None:
        """Raise when the engine process is gone, so that Serve replaces the replica."""
        if self._llm is not None:
            await self._llm.check_health()

    def stop(self) -> None:
        """End the engine's process."""
        if self._llm is not None:
            self._llm.shutdown()

    def signal(self) -> TierSignal:
        """Running, waiting and KV use, as vLLM last counted them."""
        found: dict[str, float] = {}
        for family in REGISTRY.collect():
            if field := _SIGNALS.get(family.name):
                found[field] = sum(sample.value for sample in family.samples)
        return TierSignal(
            running=int(found.get("running", 0)),
            waiting=int(found.get("waiting", 0)),
            kv_use_ratio=found.get("kv_use_ratio", 0.0),
        )

    def metrics_text(self) -> str:
        """vLLM's own metrics in Prometheus text format."""
        return generate_latest(REGISTRY).decode()


def server_arguments(tier: Tier, folder: Path) -> Namespace:
    """vLLM's server arguments for a tier: its defaults, then ours, then the settings'.

    Raises `HansomError` when `engine.args` names something that vLLM does not know.
    """
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    assert isinstance(tier.engine, VllmEngine)
    args: Namespace = make_arg_parser(FlexibleArgumentParser()).parse_args([])
    ours: dict[str, Any] = {
        "model": str(folder),
        "served_model_name": [tier.model, tier.name],
        "tensor_parallel_size": tier.tensor_parallel_size,
        "enable_prompt_tokens_details": True,
        "disable_uvicorn_access_log": True,
        "disable_fastapi_docs": True,
    }
    if tier.tensor_parallel_size > 1:
        ours["distributed_executor_backend"] = "mp"
    chosen = ours | dict(engine_arguments(tier.quantization)) | tier.engine.args
    unknown = sorted(name for name in chosen if not hasattr(args, name))
    if unknown:
        raise HansomError(
            f"tier {tier.name!r}: engine.args has names that this vLLM does not know: {unknown}"
        )
    for name, value in chosen.items():
        setattr(args, name, value)
    return args
