"""`capacity.fit`: the arithmetic, against published sizes and as laws that always hold."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.capacity.fit import GIB_BYTES, GpuFit, fit, kv_bytes_per_token, model_bytes, sizable
from core.settings.load import ModelShape, Quantization, Tier, VllmEngine, load

GPU_CONFIG = Path(__file__).parents[3] / "config" / "gpu.yaml"
LLAMA_8B = {"parameters": 8.03e9, "layers": 32, "kv_heads": 8, "head_dim": 128}
LLAMA_70B = {"parameters": 70.6e9, "layers": 80, "kv_heads": 8, "head_dim": 128}
QUANTIZATIONS: list[Quantization] = [
    "none", "w8a8", "bitsandbytes_nf4", "awq", "gptq", "fp8",
]  # fmt: skip


def tier(
    shape: dict[str, float] = LLAMA_8B,
    *,
    quantization: str = "awq",
    memory_gib: float = 22.0,
    gpus: int = 1,
    **args: object,
) -> Tier:
    return Tier.model_validate(
        {
            "name": "sized",
            "model": "sized-model",
            "source": {"kind": "hub", "id": "someone/sized-model"},
            "quantization": quantization,
            "engine": {"kind": "vllm", "args": {"max_model_len": 8192} | args},
            "accelerator": {"type": "X", "memory_gib": memory_gib, "per_replica": gpus},
            "tensor_parallel_size": gpus,
            "shape": shape,
            "price": {"input_usd_per_million_tokens": 0, "output_usd_per_million_tokens": 0},
        }
    )


def published_gb(shape: dict[str, float], quantization: Quantization) -> float:
    return model_bytes(ModelShape.model_validate(shape), quantization, VllmEngine()) / 1e9


def test_weights_match_the_published_checkpoints_and_never_fall_short():
    # The sums of the safetensors files that hugging-quants and meta-llama publish, in GB.
    assert published_gb(LLAMA_8B, "none") == pytest.approx(16.06, rel=0.005)
    assert 5.73 <= published_gb(LLAMA_8B, "awq") <= 5.73 * 1.10
    assert 39.77 <= published_gb(LLAMA_70B, "awq") <= 39.77 * 1.05


def test_vllms_own_log_of_an_8b_model_on_an_80_gib_gpu_is_met_from_below():
    # vllm-project/vllm pull request 10511: 79.22 GiB at 0.90 left 53.29 GiB for the KV cache.
    sized = fit(
        tier(quantization="none", memory_gib=79.22, gpu_memory_utilization=0.90, enforce_eager=True)
    )
    assert sized.weights_gib == pytest.approx(14.96, abs=0.01)
    kv_gib = sized.kv_tokens_available * 131_072 / GIB_BYTES
    assert 53.29 - 1.0 < kv_gib <= 53.29


def test_a_token_of_llama_8b_takes_128_kib_of_kv_cache_and_half_of_it_in_fp8():
    assert kv_bytes_per_token(tier()) == 131_072
    assert kv_bytes_per_token(tier(kv_cache_dtype="fp8")) == 65_536
    assert kv_bytes_per_token(tier(dtype="float32")) == 262_144


def test_kv_heads_are_split_over_gpus_and_repeated_when_there_are_more_gpus():
    assert [kv_bytes_per_token(tier(gpus=gpus)) for gpus in (1, 2, 8, 16)] == [
        131_072, 65_536, 16_384, 16_384,
    ]  # fmt: skip


def test_a_ratio_of_kv_heads_to_gpus_that_vllm_refuses_does_not_fit():
    sized = fit(tier(gpus=3))
    assert not sized.fits
    assert sized.reason == "does not fit: 8 KV heads cannot be shared out over 3 GPUs"


def test_70b_in_16_bits_on_one_24_gb_gpu_is_refused_with_numbers():
    sized = fit(tier(LLAMA_70B, quantization="none"))
    assert not sized.fits
    assert sized.kv_tokens_available == 0
    for figure in ("22.0 GiB", "20.2 GiB", "92%", "131.5 GiB", "4.0 GiB", "115.3 GiB too much"):
        assert figure in sized.reason


def test_a_context_too_long_for_the_memory_left_is_refused_with_numbers():
    sized = fit(tier(max_model_len=131_072))
    assert not sized.fits
    assert "one request of 131,072 tokens needs 16.0 GiB" in sized.reason
    assert "10.4 GiB for KV cache" in sized.reason


def test_without_max_model_len_a_long_context_is_assumed_and_minus_one_takes_what_fits():
    assert fit(tier(max_model_len=None)).kv_gib_needed == 16.0
    assert fit(tier(max_model_len=-1)).fits


def test_all_sequences_at_full_length_are_told_but_not_required():
    sized = fit(tier(max_num_seqs=64))
    assert sized.fits
    assert sized.kv_gib_at_max_num_seqs == 64 * sized.kv_gib_needed == 64.0
    assert fit(tier()).kv_gib_at_max_num_seqs is None


def test_both_tiers_of_the_gpu_configuration_fit_with_room_for_five_full_requests():
    for configured in load(GPU_CONFIG).tiers:
        sized = fit(configured)
        assert sized.fits, sized.reason
        assert sized.reason.startswith("fits: ")
        assert sized.kv_tokens_available >= 5 * 16_384


def test_the_large_tier_in_16_bits_on_one_small_gpu_is_refused():
    configured = load(GPU_CONFIG)
    broken = configured.tier("large").model_copy(
        update={
            "quantization": "none",
            "tensor_parallel_size": 1,
            "accelerator": configured.tier("small").accelerator,
        }
    )
    assert not fit(broken).fits
    assert "131.5 GiB" in fit(broken).reason


def test_a_tier_without_shape_or_gpu_is_not_sizable_and_says_what_is_missing():
    for missing in ({"shape": None}, {"memory_gib": 0.0}):
        unsized = tier(**missing)  # type: ignore[arg-type]
        assert not sizable(unsized)
        with pytest.raises(ValueError, match="tier sized: `shape` and `accelerator`"):
            fit(unsized)


parameters = st.floats(1e8, 1e12)
memory_gib = st.floats(4.0, 200.0)
gpus = st.sampled_from([1, 2, 4, 8, 16])
quantization = st.sampled_from(QUANTIZATIONS)
patient = settings(deadline=None)  # a busy machine is no failure


def no_worse(better: GpuFit, worse: GpuFit) -> bool:
    more = better.kv_tokens_available >= worse.kv_tokens_available
    return more and better.fits >= worse.fits


@patient
@given(memory_gib, st.floats(0, 200), parameters, gpus, quantization)
def test_more_memory_is_never_worse(memory, added, count, size, kind):
    shape = LLAMA_8B | {"parameters": count}
    less = fit(tier(shape, memory_gib=memory, gpus=size, quantization=kind))
    more = fit(tier(shape, memory_gib=memory + added, gpus=size, quantization=kind))
    assert no_worse(more, less)


@patient
@given(memory_gib, parameters, st.floats(0, 1e12), gpus, quantization)
def test_more_parameters_are_never_better(memory, count, added, size, kind):
    smaller = fit(tier(LLAMA_8B | {"parameters": count}, memory_gib=memory, gpus=size,
                       quantization=kind))  # fmt: skip
    larger = fit(tier(LLAMA_8B | {"parameters": count + added}, memory_gib=memory, gpus=size,
                      quantization=kind))  # fmt: skip
    assert larger.weights_gib >= smaller.weights_gib
    assert no_worse(smaller, larger)


@patient
@given(memory_gib, parameters, st.sampled_from([1, 2, 4, 8]), quantization)
def test_twice_the_gpus_are_never_worse(memory, count, size, kind):
    shape = LLAMA_70B | {"parameters": count}
    fewer = fit(tier(shape, memory_gib=memory, gpus=size, quantization=kind))
    more = fit(tier(shape, memory_gib=memory, gpus=2 * size, quantization=kind))
    assert no_worse(more, fewer)


@patient
@given(memory_gib, parameters, gpus, quantization)
def test_what_fits_leaves_room_for_one_whole_request(memory, count, size, kind):
    sized = fit(tier(LLAMA_8B | {"parameters": count}, memory_gib=memory, gpus=size,
                     quantization=kind))  # fmt: skip
    assert sized.fits == (sized.kv_tokens_available >= 8192)
    assert sized.fits == sized.reason.startswith("fits: ")
