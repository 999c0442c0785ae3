"""`cli.doctor_cpu`: a missing library stops the start, slow instructions only warn."""

from pathlib import Path

import pytest

from cli import doctor_cpu
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


@pytest.mark.parametrize(
    ("flags", "ok"),
    [("fpu avx512_vnni", True), ("avx_vnni", True), ("avx2 f16c", None), ("", None)],
)
def test_int8_on_a_cpu_without_its_instructions_is_told(tmp_path, monkeypatch, flags, ok):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nprocessor\t: 1\n")
    monkeypatch.setattr(doctor_cpu, "CPU_INFO", info)
    check = doctor_cpu.check_cpu_instructions(LAPTOP)
    assert check.ok is ok
    assert ok or ("small, large" in check.found and check.advice)
    assert doctor_cpu.check_cpu_instructions(GPU).ok is True
    assert doctor_cpu.check_cpu_instructions(SIMULATED).ok is True


def test_a_system_that_does_not_tell_its_cpu_warns(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_cpu, "CPU_INFO", tmp_path / "none")
    assert doctor_cpu.check_cpu_instructions(LAPTOP).ok is None
