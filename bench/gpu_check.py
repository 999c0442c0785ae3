"""What Hansom costs on a GPU: each shape behind Hansom and behind vLLM's own server.

    make gpu-check                                  8B in bf16 and 70B in fp8, on one GPU
    python -m bench.gpu_check --shape tiny --quick  the same steps on a CPU

Promises: both sides get the same model folder, engine arguments and requests. A GPU holds one 70B
model, so that the sides run one after the other: vLLM, Hansom, and vLLM again, whose two halves say
how much the machine itself moved. Weights are random (`bench.dummy_model`): speeds are real,
answers mean nothing. `hansom plan calibrate` then writes the engine's profile. Figures go to
`bench/out/gpu-check.json`, profiles to `bench/out/gpu-profiles.yaml`.
Not covered: several GPUs and nodes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from bench.claims import Claim, ClaimCell, Measured, claims_table, figures_table, gpu_claims
from bench.dummy_model import SHAPES, write
from bench.load import Generator, Job, LoadResult
from bench.overhead import OUT, body, report
from bench.peers import ours, process, vllm_command
from core.free_port import free_port
from core.settings.load import PathSource, Tier, VllmEngine

_CHAT = "/v1/chat/completions"
_CPU_ARGS = {"enforce_eager": True, "dtype": "bfloat16"}
_CPU_ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "TORCHDYNAMO_DISABLE": "1",
}
_FREE = {"input_usd_per_million_tokens": "0.1", "output_usd_per_million_tokens": "0.4"}


@dataclass(frozen=True, slots=True)
class GpuSize:
    """How much to measure: requests at once, tokens of each answer, rounds of `duration_s`."""

    levels: tuple[int, ...]
    tokens: int
    rounds: int
    duration_s: float


_FULL = GpuSize((1, 8, 32, 64), tokens=128, rounds=2, duration_s=6.0)
_QUICK = GpuSize((1, 4), tokens=16, rounds=1, duration_s=0.0)


@dataclass(frozen=True, slots=True)
class GpuChecked:
    """What one shape came to."""

    shape: str
    measured: Measured
    claims: list[Claim]


def tier_of(shape: str, folder: Path, *, gpu: bool) -> Tier:
    """The tier of a shape: on a GPU the 70B in fp8, which one GPU of 80 GB and more holds."""
    args: dict[str, object] = {
        "load_format": "dummy",
        "max_model_len": 4096,
        "max_num_seqs": max(_FULL.levels),
        "enable_prefix_caching": False,
    }
    dimensions = SHAPES[shape]
    described: dict[str, object] = {
        "name": f"llama-{shape}",
        "model": f"dummy-{shape}",
        "source": PathSource(kind="path", path=folder),
        "quantization": "fp8" if gpu and shape == "70b" else "none",
        "engine": {
            "kind": "vllm",
            "args": args | ({} if gpu else _CPU_ARGS),
            "env": {} if gpu else _CPU_ENV,
        },
        "max_ongoing_requests": 4 * max(_FULL.levels),
        "price": _FREE,
        "shape": {
            "parameters": dimensions.parameters,
            "layers": dimensions.num_hidden_layers,
            "kv_heads": dimensions.num_key_value_heads,
            "head_dim": dimensions.head_dim,
        },
    }
    if gpu:
        described["accelerator"] = {"type": torch.cuda.get_device_name(), "per_replica": 1}
    return Tier.model_validate(described)


def check(shape: str, size: GpuSize, profiles: Path, console: Console, *, gpu: bool) -> GpuChecked:
    """Measure one shape on both sides, and write its profile."""
    with tempfile.TemporaryDirectory(prefix="hansom-gpu-") as made:
        folder = write(Path(made) / "model", SHAPES[shape])
        tier = tier_of(shape, folder, gpu=gpu)
        halves: list[tuple[str, dict[ClaimCell, list[LoadResult]], float]] = []
        # vLLM's own runs before and after ours, so that drift of the machine shows; quick: once.
        for side in ("vllm", "ours") if size is _QUICK else ("vllm", "ours", "vllm"):
            console.log(f"{shape}: starting {side}")
            start_s = time.monotonic()
            with serving(side, tier, folder, Path(made) / "home") as port:
                ready_s = time.monotonic() - start_s
                console.log(f"{shape}: {side} ready after {ready_s:.0f} s; measuring")
                halves.append((side, rounds(side, port, tier, size), ready_s))
                if side == "ours":
                    calibrate(tier, port, profiles, size, console)
    measured = Measured(joined([results for _, results, _ in halves]))
    starts_s = {side: took_s for side, _, took_s in halves}
    return GpuChecked(shape, measured, gpu_claims(measured, size.levels, size.tokens, starts_s))


@contextmanager
def serving(side: str, tier: Tier, folder: Path, home: Path) -> Iterator[int]:
    """One side while it serves; yields its port. GPU memory is free again afterwards."""
    assert isinstance(tier.engine, VllmEngine)
    if side == "vllm":
        port = free_port()
        with process(vllm_command(tier, folder, port), port, tier.engine.env):
            yield port
        return
    home.mkdir(exist_ok=True)
    settings = {"tiers": [tier.model_dump(mode="json")], "router": {"strategy": "heuristic"}}
    with ours(settings, home) as port:
        yield port


def rounds(side: str, port: int, tier: Tier, size: GpuSize) -> dict[ClaimCell, list[LoadResult]]:
    """All levels of one side, round after round, after requests that warm it up."""
    asked = body(tier.model, size.tokens, stream=True, temperature=1, ignore_eos=True)
    jobs = {
        ClaimCell("stream", side, wide): Job(port, _CHAT, asked, wide, size.duration_s)
        for wide in size.levels
    }
    found: dict[ClaimCell, list[LoadResult]] = {cell: [] for cell in jobs}
    with Generator() as generator:
        generator.run(Job(port, _CHAT, asked, max(size.levels), least=2))
        for _ in range(size.rounds):
            for cell, job in jobs.items():
                found[cell].append(generator.run(job))
    return found


def joined(halves: list[dict[ClaimCell, list[LoadResult]]]) -> dict[ClaimCell, list[LoadResult]]:
    """The rounds of each cell, those of a side that ran twice one after the other."""
    cells = dict.fromkeys(cell for half in halves for cell in half)
    return {cell: [one for half in halves for one in half.get(cell, [])] for cell in cells}


def calibrate(tier: Tier, port: int, profiles: Path, size: GpuSize, console: Console) -> None:
    """Write the tier's profile with `hansom plan calibrate`; a failure is told and ends nothing."""
    lengths = "64,128,256" if size is _QUICK else "64,256,1024,2048"
    at_once = ",".join(map(str, size.levels))
    command = [
        str(Path(sys.executable).with_name("hansom")), "plan", "calibrate", "--tier", tier.name,
        "--profile", f"gpu-{tier.name}", "--profiles", str(profiles), "--prompts", lengths,
        "--at-once", at_once, "--output-tokens", str(size.tokens), "--repeats", "1",
        "--url", f"http://127.0.0.1:{port}",
    ]  # fmt: skip  # a command, an option and its value together
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    console.log(done.stdout if done.returncode == 0 else f"calibration failed: {done.stderr}")


def whole(found: list[GpuChecked], load_before: float) -> dict[str, object]:
    """Everything, for JSON, by shape."""
    told: Mapping[str, object] = {
        one.shape: report(one.measured, one.claims, load_before) for one in found
    }
    return {"device": _device(), "torch": torch.__version__, "shapes": told}


def main() -> None:
    """Parse the command line, measure, print, and write to `bench/out/`."""
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description=__doc__)
    parser.add_argument(
        "--shape", action="append", choices=list(SHAPES), help="default: 8b and 70b"
    )
    parser.add_argument("--quick", action="store_true", help="tiny counts: does it run at all")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args()
    shapes = given.shape or ["8b", "70b"]
    if not gpu and shapes != ["tiny"]:
        sys.exit(
            "No NVIDIA GPU that torch can use, so only `--shape tiny` runs here. On a machine with "
            "one: driver 580 or newer (see nvidia-smi), then `make gpu-check`."
        )
    console = Console(stderr=given.json, width=150)
    OUT.mkdir(exist_ok=True)
    profiles = OUT / "gpu-profiles.yaml"
    load_before = os.getloadavg()[0]
    found = []
    with redirect_stdout(sys.stderr):  # Ray prints there, and it must hold nothing but JSON
        for shape in shapes:
            size = _QUICK if given.quick else _FULL
            found.append(check(shape, size, profiles, console, gpu=gpu))
    text = json.dumps(whole(found, load_before), indent=1)
    (OUT / "gpu-check.json").write_text(text + "\n")
    if given.json:
        print(text)
        return
    for one in found:
        console.print(figures_table(one.measured, f"{one.shape} on {_device()}"))
        console.print(claims_table(one.claims))
    console.print(f"written to {OUT / 'gpu-check.json'} and {profiles}")


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"


if __name__ == "__main__":
    main()
