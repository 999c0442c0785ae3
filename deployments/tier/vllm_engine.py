"""Run vLLM: `AsyncLLM` with vLLM's own OpenAI application on top.

Chat templates, tools, structured output, log-probabilities, stop, seed, n and usage are vLLM's.
Nothing here parses a request. vLLM is imported when an engine starts and not before, so that the
gateway and the tests that need no model never pay for it.
"""

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse

from autoscale.live.observe import LoadReport
from core.errors import HansomError
from core.settings.load import Tier, VllmEngine
from deployments.machine.weights import engine_arguments
from deployments.tier import late_last, structured
from deployments.tier.load_report import LoadReporter, Queue, Totals
from deployments.tier.slo_count import SloCount
from deployments.tier.usage_meter import UsageMeter, note_ends, prompt_of
from deployments.tier.vllm_report import capabilities_of, name_length_errors

# Samples by the field of `Totals` that they are; a histogram is its sum and its count.
_TOTALS = {
    "vllm:prompt_tokens_total": "prefilled_tokens",
    "vllm:prompt_tokens_cached_total": "cached_tokens",
    "vllm:generation_tokens_total": "made_tokens",
    "vllm:num_preemptions_total": "preemptions",
    "vllm:time_to_first_token_seconds_sum": "ttft_s",
    "vllm:time_to_first_token_seconds_count": "first_tokens",
    "vllm:inter_token_latency_seconds_sum": "tpot_s",
    "vllm:inter_token_latency_seconds_count": "later_tokens",
}
WATERMARK = 0.05
CPU_BLOCK_TOKENS = 32
READ = ("vllm:num_requests_running", "vllm:kv_cache_usage_perc", *_TOTALS)
"""Samples that a report is made of."""


class Vllm:
    """One vLLM engine for one tier; `folder` holds its weights.

    `prefill_tokens_per_s` is what its profile says, for an SLO that depends on the prompt.
    """

    def __init__(self, tier: Tier, folder: Path, prefill_tokens_per_s: float) -> None:
        self._tier = tier
        self._folder = folder
        self._prefill_tokens_per_s = prefill_tokens_per_s
        self._llm: Any = None
        self._kept = SloCount(tier.scaling.slo, prefill_tokens_per_s)
        self.meter: UsageMeter
        self._teller: LoadReporter

    async def start(self) -> Any:
        """Load the model and return vLLM's FastAPI application, metered."""
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state
        from vllm.entrypoints.launchers.app import build_app
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        args = server_arguments(self._tier, self._folder, self._prefill_tokens_per_s)
        config = AsyncEngineArgs.from_cli_args(args).create_engine_config(
            UsageContext.OPENAI_API_SERVER
        )
        self._llm = AsyncLLM.from_vllm_config(config, usage_context=UsageContext.OPENAI_API_SERVER)
        processor = self._llm.input_processor
        processor._validate_params = structured.checked(processor._validate_params)
        tasks = await self._llm.get_supported_tasks()
        app = build_app(args, tasks, self._llm.model_config)
        answer_too_deep(app)
        await init_app_state(self._llm, app.state, args, tasks)
        name_length_errors(app)
        self.meter = meter = UsageMeter(app)
        meter.capabilities = capabilities_of(self._llm, app.state.online_renderer)
        self._teller = LoadReporter(meter, self._kept)
        note_ends(
            self._llm.output_processor,
            lambda id, took: meter.note(meter.find(id), took, prompt_of(id)),
            self._ended,
        )
        return meter

    async def check_health(self) -> None:
        """Raise when the engine process is gone, so that Serve replaces the replica."""
        if self._llm is not None:
            await self._llm.check_health()

    def stop(self) -> None:
        """End the engine's process."""
        if self._llm is not None:
            self._llm.shutdown()

    def report(self) -> LoadReport:
        """The load, by vLLM's own metrics and what its output processor has not let go of.

        vLLM's gauges are of its last step; what has come since then counts as waiting.
        """
        found = samples(READ)
        processor = self._llm.output_processor
        open_ = processor.get_num_unfinished_requests()
        running = min(int(found.get("vllm:num_requests_running", 0)), open_)
        states = list(processor.request_states.values())
        for state in states:
            self._began(state)
        batch = [state for state in states if self._batch(state)]
        # Waiting requests count for the batch lane first: no other request waits behind them.
        waiting = min(open_ - running, sum(state.is_prefilling for state in batch))
        queue = Queue(
            running=running,
            waiting=open_ - running,
            waiting_tokens=processor.get_num_queued_tokens(),
            kv_use_ratio=found.get("vllm:kv_cache_usage_perc"),
            batch_running=len(batch) - waiting,
            batch_waiting=waiting,
            batch_input_tokens=sum(
                int(state.prompt_len) - int(state.num_cached_tokens or 0) for state in batch
            ),
            mixed=bool(self.meter.batch_open),
        )
        counted = {field: found.get(name, 0.0) for name, field in _TOTALS.items()}
        return self._teller.report(queue, Totals(**counted))

    def _began(self, state: Any) -> None:
        """Count a request whose first token is there and was late."""
        if state.stats is None or state.is_prefilling or self._of_batch(state):
            return
        took_s = float(state.stats.first_token_latency)
        self._kept.began(state.request_id, int(state.prompt_len), took_s)

    def _ended(self, state: Any) -> None:
        """Count a request that vLLM lets go of, unless it keeps no times."""
        stats = state.stats
        if stats is None or self._of_batch(state):
            return
        waited_s, tpot_s = float(stats.first_token_latency), None
        if state.is_prefilling:
            waited_s = time.time() - float(stats.arrival_time)
        else:
            later = max(1, int(stats.num_generation_tokens) - 1)
            tpot_s = max(0.0, float(stats.last_token_ts) - float(stats.first_token_ts)) / later
        self._kept.ended(state.request_id, int(state.prompt_len), waited_s, tpot_s)

    def _batch(self, state: Any) -> bool:
        """Whether one of the processor's requests is of the batch lane."""
        return self.meter.batch_open > 0 and self._of_batch(state)

    def _of_batch(self, state: Any) -> bool:
        """The same of one whose handler may have ended."""
        return self.meter.batch(self.meter.find(state.external_req_id))

    def metrics_text(self) -> str:
        """vLLM's own metrics in Prometheus text format."""
        return generate_latest(REGISTRY).decode()


def answer_too_deep(app: Any) -> None:
    """Have vLLM's application answer a request that is too deep with a 400 instead of a 500."""
    app.add_exception_handler(RecursionError, too_deep)
    # A library that vLLM gives its application to has built the stack, and handlers are read then.
    app.middleware_stack = app.build_middleware_stack()


async def too_deep(_request: Request, _error: Exception) -> JSONResponse:
    """Answer a request with a text of nested JSON that Python cannot read: it is the client's.

    vLLM reads the arguments of earlier tool calls so, whose depth nothing bounds before.
    """
    words = "A text of JSON in this request (arguments of a tool call) is nested too deeply."
    error = {"message": words, "type": "BadRequestError", "param": None, "code": 400}
    return JSONResponse({"error": error}, 400)


def samples(names: tuple[str, ...]) -> dict[str, float]:
    """The named samples of this process's vLLM metrics, added up over their labels."""
    found: dict[str, float] = {}
    for family in REGISTRY.restricted_registry(names).collect():
        for sample in family.samples:
            if sample.name in names:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def kv_arguments(tier: Tier) -> dict[str, float]:
    """vLLM's arguments of the KV cache that a tier has unless `engine.args` says otherwise."""
    # Prompts are admitted only while so much of the KV cache stays free: else calls that run are
    # preempted, and prefilled again, when their answers need it.
    told: dict[str, float] = {"watermark": WATERMARK}
    if not tier.accelerator.per_replica:
        # vLLM's own 128 on a CPU leaves shorter prompts out of the prefix cache.
        told["block_size"] = CPU_BLOCK_TOKENS
    return told


def server_arguments(tier: Tier, folder: Path, prefill_tokens_per_s: float) -> Namespace:
    """vLLM's server arguments for a tier: its defaults, then ours, then the settings'.

    Raises `HansomError` when `engine.args` names something that vLLM does not know.
    """
    from vllm.config import StructuredOutputsConfig
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
        # Every call has the priority of its lane.
        "scheduling_policy": "priority",
        # By default vLLM checks each request with the library that takes it, and compiles all of
        # them with that of the first one: what was found good may then fail in the engine's core.
        "structured_outputs_config": {"backend": "xgrammar"},
        **kv_arguments(tier),
    }
    if tier.scaling.late_last:
        ours["scheduler_cls"] = late_last.SCHEDULER
        ours["additional_config"] = late_last.told(tier.scaling.slo, prefill_tokens_per_s)
    if tier.tensor_parallel_size > 1:
        ours["distributed_executor_backend"] = "mp"
    chosen = ours | dict(engine_arguments(tier.quantization)) | tier.engine.args
    own = tier.engine.args.get("additional_config")
    if isinstance(own, dict):
        chosen["additional_config"] = ours.get("additional_config", {}) | own
    unknown = sorted(name for name in chosen if not hasattr(args, name))
    if unknown:
        raise HansomError(
            f"tier {tier.name!r}: engine.args has names that this vLLM does not know: {unknown}"
        )
    for name, value in chosen.items():
        setattr(args, name, value)
    args.structured_outputs_config = StructuredOutputsConfig(**args.structured_outputs_config)
    return args
