"""The CPU's instructions are read from the kernel; a system that does not tell has none."""

import pytest

from core import cpu


@pytest.fixture(autouse=True)
def _afresh():
    cpu.int8_flags.cache_clear()
    yield
    cpu.int8_flags.cache_clear()


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("fpu avx2 avx512_vnni amx_int8", {"avx512_vnni", "amx_int8"}),
        ("fpu avx_vnni", {"avx_vnni"}),
        ("fpu avx2 f16c", set()),
        ("", set()),
    ],
)
def test_the_flags_of_the_first_cpu_count(tmp_path, monkeypatch, flags, found):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nprocessor\t: 1\nflags\t\t: amx_int8\n")
    monkeypatch.setattr(cpu, "CPU_INFO", info)
    assert cpu.int8_flags() == found


def test_a_system_that_does_not_tell_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "CPU_INFO", tmp_path / "none")
    assert cpu.int8_flags() == frozenset()


def test_memory_is_counted_in_gib():
    assert 0.1 < cpu.memory_gib() < 100_000
