"""Calculate whether a tier's model fits its GPUs, from the settings alone.

All figures are of one GPU and in GiB (2**30 bytes), because every GPU of a replica must hold its
share. The arithmetic, and where it comes from:

- weights = parameters x bytes per parameter / tensor_parallel_size. A quantized checkpoint keeps
  its embedding and output matrices in the model's own dtype; a `ModelShape` does not say how large
  they are, so their width is taken from N = 12 x layers x width**2 (Kaplan et al. 2020) and their
  rows from the largest vocabulary in common use. That errs on the large side: by 9 % for
  Llama-3.1-8B in AWQ (5.73 GB as published) and by 2 % for the 70B (39.77 GB).
- KV cache per token = 2 (K and V) x layers x kv_heads x head_dim x bytes of its dtype (Kwon et
  al. 2023, PagedAttention). KV heads are split over the GPUs; with more GPUs than heads each
  head is kept on several (vLLM's QKVParallelLinear), and vLLM refuses any other ratio.
- An allowance for what vLLM finds out only by running: activations, CUDA graphs, and what lies
  outside of torch (CUDA context, NCCL). vLLM's own log for an 8B model on an 80 GiB GPU told
  1.26 GiB of activations and 1.8 GiB outside (vllm-project/vllm pull request 10511).

Not covered: pipeline and data parallelism, `kv_cache_memory_bytes`, LoRA adapters, speculative
models, vision towers; sliding windows and latent attention, which need less KV cache than this.
"""

import math
from dataclasses import dataclass

from core.settings.load import Engine, ModelShape, Quantization, SimulatedEngine, Tier

GIB_BYTES = 2**30

ACTIVATIONS_GIB = 1.5
CUDA_GRAPHS_GIB = 0.5
OUTSIDE_TORCH_GIB = 2.0

GPU_MEMORY_UTILIZATION = 0.92
"""vLLM 0.32's own default."""

MAX_MODEL_LEN_TOKENS = 131_072
"""Assumed where `max_model_len` is not set: vLLM then takes the model's own, which is not here."""

VOCABULARY_TOKENS = 152_064
"""Rows of an embedding matrix; Qwen's, the largest in common use that is not tied."""

BYTES_PER_PARAMETER: dict[Quantization, float] = {
    "w8a8": 1 + 4 / 1024,  # one float32 scale per output channel, of 1,024 inputs or more
    "fp8": 1 + 4 / 1024,
    "bitsandbytes_nf4": 0.5 + 4 / 64,  # one float32 absmax per block of 64
    "awq": 0.5 + 2.5 / 128,  # a 16-bit scale and a 4-bit zero point per group of 128
    "gptq": 0.5 + 2.5 / 128,
}
"""Bytes of one quantized parameter with its scales; `none` follows the dtype instead."""

DTYPE_BYTES = {"float32": 4.0, "float": 4.0, "float16": 2.0, "bfloat16": 2.0, "half": 2.0}


@dataclass(frozen=True, slots=True)
class GpuFit:
    """What one GPU of a replica holds, in GiB, and whether that is enough to start."""

    tier: str
    gpu_gib: float
    weights_gib: float
    allowance_gib: float
    kv_gib_needed: float  # one request of max_model_len tokens: vLLM refuses to start on less
    kv_gib_at_max_num_seqs: float | None  # all of them at full length; for information
    kv_tokens_available: int
    fits: bool
    reason: str


def sizable(tier: Tier) -> bool:
    """Whether the settings say enough for `fit`: a shape, and a GPU with its memory."""
    return (
        tier.shape is not None
        and tier.accelerator.per_replica > 0
        and (tier.accelerator.memory_gib > 0)
    )


def fit(tier: Tier) -> GpuFit:
    """Size one replica of `tier`; ValueError unless `sizable(tier)`."""
    if tier.shape is None or not sizable(tier):
        raise ValueError(
            f"tier {tier.name}: `shape` and `accelerator` (per_replica and memory_gib above 0) "
            "are needed to tell whether it fits"
        )
    utilization = _number(tier.engine, "gpu_memory_utilization", GPU_MEMORY_UTILIZATION)
    tokens_needed = _max_model_len_tokens(tier.engine)
    token_gib = kv_bytes_per_token(tier) / GIB_BYTES
    weights_gib = model_bytes(tier.shape, tier.quantization, tier.engine) / GIB_BYTES
    weights_gib /= tier.tensor_parallel_size
    allowance_gib = _allowance_gib(tier.engine)
    kv_gib = tier.accelerator.memory_gib * utilization - allowance_gib - weights_gib
    max_num_seqs = _number(tier.engine, "max_num_seqs", 0)
    fits = kv_heads_split(tier) and kv_gib >= tokens_needed * token_gib
    return GpuFit(
        tier=tier.name,
        gpu_gib=tier.accelerator.memory_gib,
        weights_gib=weights_gib,
        allowance_gib=allowance_gib,
        kv_gib_needed=tokens_needed * token_gib,
        kv_gib_at_max_num_seqs=max_num_seqs * tokens_needed * token_gib if max_num_seqs else None,
        kv_tokens_available=max(0, math.floor(kv_gib / token_gib)),
        fits=fits,
        reason=_reason(tier, utilization, weights_gib, tokens_needed * token_gib, tokens_needed),
    )


def model_bytes(shape: ModelShape, quantization: Quantization, engine: Engine) -> float:
    """Bytes of the whole model's weights, before they are split over GPUs."""
    plain_bytes = _dtype_bytes(engine)
    if quantization == "none":
        return shape.parameters * plain_bytes
    width = math.sqrt(shape.parameters / (12 * shape.layers))
    kept_plain = min(shape.parameters, 2 * VOCABULARY_TOKENS * width)
    quantized = shape.parameters - kept_plain
    return quantized * BYTES_PER_PARAMETER[quantization] + kept_plain * plain_bytes


def kv_bytes_per_token(tier: Tier) -> float:
    """Bytes of KV cache that one token takes on one GPU; 0 without a shape."""
    if tier.shape is None:
        return 0.0
    heads = max(1, tier.shape.kv_heads // tier.tensor_parallel_size)
    return 2 * tier.shape.layers * heads * tier.shape.head_dim * _kv_dtype_bytes(tier.engine)


def kv_heads_split(tier: Tier) -> bool:
    """Whether vLLM can share the KV heads out: one of the two numbers divides the other."""
    if tier.shape is None:
        return True
    heads, gpus = tier.shape.kv_heads, tier.tensor_parallel_size
    return heads % gpus == 0 or gpus % heads == 0


def _reason(
    tier: Tier, utilization: float, weights_gib: float, needed_gib: float, tokens: int
) -> str:
    """The verdict in words, with every number it rests on."""
    memory_gib, gpus = tier.accelerator.memory_gib, tier.tensor_parallel_size
    allowance_gib = _allowance_gib(tier.engine)
    budget_gib = memory_gib * utilization
    left_gib = budget_gib - allowance_gib - weights_gib
    share = f"1/{gpus} of the weights" if gpus > 1 else "the weights"
    sizes = (
        f"each GPU has {memory_gib:.1f} GiB, {budget_gib:.1f} GiB of it for vLLM "
        f"({utilization:.0%}); {share} ({tier.quantization}) {weights_gib:.1f} GiB and "
        f"activations, CUDA graphs and NCCL {allowance_gib:.1f} GiB"
    )
    request = f"one request of {tokens:,} tokens needs {needed_gib:.1f} GiB"
    if not kv_heads_split(tier):
        heads = tier.shape.kv_heads if tier.shape else 0
        return f"does not fit: {heads} KV heads cannot be shared out over {gpus} GPUs"
    if left_gib < 0:
        return f"does not fit: {sizes}, which is {-left_gib:.1f} GiB too much before any KV cache"
    if left_gib < needed_gib:
        return f"does not fit: {sizes} leave {left_gib:.1f} GiB for KV cache, and {request}"
    return f"fits: {sizes} leave {left_gib:.1f} GiB for KV cache; {request}"


def _allowance_gib(engine: Engine) -> float:
    eager = not isinstance(engine, SimulatedEngine) and engine.args.get("enforce_eager") is True
    return ACTIVATIONS_GIB + OUTSIDE_TORCH_GIB + (0.0 if eager else CUDA_GRAPHS_GIB)


def _max_model_len_tokens(engine: Engine) -> int:
    """Tokens of the longest request; -1 is vLLM's own word for "as many as fit"."""
    tokens = int(_number(engine, "max_model_len", MAX_MODEL_LEN_TOKENS))
    return 1 if tokens == -1 else tokens


def _dtype_bytes(engine: Engine) -> float:
    """Bytes of an unquantized parameter; `auto` means 2, as nearly every checkpoint is 16-bit."""
    return DTYPE_BYTES.get(_text(engine, "dtype"), 2.0)


def _kv_dtype_bytes(engine: Engine) -> float:
    """Bytes of one K or V element; formats below 8 bits are counted as 8, the safe side."""
    name = _text(engine, "kv_cache_dtype")
    if name == "auto":
        return _dtype_bytes(engine)
    return DTYPE_BYTES.get(name, 1.0)


def _number(engine: Engine, name: str, default: float) -> float:
    """One of vLLM's engine arguments as a number; `default` where it is not set."""
    value = None if isinstance(engine, SimulatedEngine) else engine.args.get(name)
    return float(value) if isinstance(value, int | float) else default


def _text(engine: Engine, name: str) -> str:
    value = None if isinstance(engine, SimulatedEngine) else engine.args.get(name)
    return value if isinstance(value, str) else "auto"
