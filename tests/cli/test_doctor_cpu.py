"""`cli.doctor_cpu`: a missing library stops the start, slow instructions only warn."""

from pathlib import Path

import pytest

from cli import doctor_cpu
from core import cpu
from core.settings.load import load
from deployments.machine import environment

CONFIG = Path(__file__).parents[2] / "config"
LAPTOP, GPU, SIMULATED = (load(CONFIG / f"{name}.yaml") for name in ("laptop", "gpu", "simulated"))


def test_a_library_that_vllm_lacks_is_told_with_its_package(monkeypatch):
    monkeypatch.setattr(environment, "NUMA", "libnone.so.1")
    assert doctor_cpu.check_cpu_libraries(GPU).ok is True  # the CUDA build does without
    check = doctor_cpu.check_cpu_libraries(LAPTOP)
    assert check.ok is False
    assert "libnone.so.1" in check.found and "libnuma1" in check.advice


@pytest.mark.parametrize(("flags", "ok"), [({"avx512_vnni"}, True), (set(), None)])
def test_int8_on_a_cpu_without_its_instructions_is_told(monkeypatch, flags, ok):
    monkeypatch.setattr(cpu, "int8_flags", lambda: frozenset(flags))
    tiers = [tier.model_copy(update={"quantization": "w8a8"}) for tier in LAPTOP.tiers]
    check = doctor_cpu.check_cpu_instructions(LAPTOP.model_copy(update={"tiers": tuple(tiers)}))
    assert check.ok is ok
    assert ok or ("small, large" in check.found and check.advice)
    assert doctor_cpu.check_cpu_instructions(GPU).ok is True
    assert doctor_cpu.check_cpu_instructions(SIMULATED).ok is True
