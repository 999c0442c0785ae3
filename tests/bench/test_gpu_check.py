"""The GPU check: what it makes of a shape, and a whole run of the smallest one on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import gpu_check
from bench.claims import ClaimCell
from bench.dummy_model import SHAPES
from bench.load import LoadResult
from core.settings.load import VllmEngine


def one(rate: int) -> LoadResult:
    return LoadResult(1.0, 0.0, 0, 0, [1.0] * rate, [0.5] * rate)


@pytest.mark.parametrize(
    ("shape", "gpu", "quantization"),
    [("8b", True, "none"), ("70b", True, "fp8"), ("tiny", False, "none")],
)
def test_a_tier_has_dummy_weights_of_its_shape(shape, gpu, quantization, monkeypatch) -> None:
    monkeypatch.setattr(gpu_check.torch.cuda, "get_device_name", lambda: "A GPU")
    tier = gpu_check.tier_of(shape, Path("/a/folder"), gpu=gpu)
    assert tier.quantization == quantization
    assert isinstance(tier.engine, VllmEngine)
    assert tier.engine.args["load_format"] == "dummy"
    assert ("enforce_eager" in tier.engine.args) is not gpu  # a GPU is measured as it is used
    assert tier.accelerator.per_replica == int(gpu)
    assert tier.shape is not None
    assert tier.shape.parameters == SHAPES[shape].parameters


def test_the_rounds_of_a_side_that_ran_twice_are_one_cell() -> None:
    vllm, ours = ClaimCell("stream", "vllm", 1), ClaimCell("stream", "ours", 1)
    halves = [{vllm: [one(1)]}, {ours: [one(2)]}, {vllm: [one(3)]}]
    rates = {cell: [one.rate for one in found] for cell, found in gpu_check.joined(halves).items()}
    assert rates == {vllm: [1, 3], ours: [2]}


def test_without_a_gpu_it_says_what_is_needed() -> None:
    if gpu_check.torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    command = [sys.executable, "-m", "bench.gpu_check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "No NVIDIA GPU" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.vllm
@pytest.mark.ray
def test_the_smallest_shape_goes_through_every_step_on_a_cpu() -> None:
    command = [sys.executable, "-m", "bench.gpu_check", "--shape", "tiny", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    claims = {one["name"]: one for one in json.loads(done.stdout)["shapes"]["tiny"]["claims"]}
    assert claims["failed requests"]["value"] == 0
    assert claims["tokens/s of vLLM's own, 4 at once"]["value"] > 0
    assert "gpu-llama-tiny" in (gpu_check.OUT / "gpu-profiles.yaml").read_text()
