"""Check what engines on the CPU need: libraries of the system, and instructions of the CPU."""

import re
from pathlib import Path

from cli.doctor_check import Check
from core.errors import HansomError
from core.settings.load import Settings
from deployments.machine import environment

CPU_INFO = Path("/proc/cpuinfo")
# Any of these multiplies int8 matrices in hardware; without them oneDNN computes them one by one.
INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}


def check_cpu_libraries(settings: Settings) -> Check:
    """Check the libraries that vLLM's CPU build needs of the system."""
    try:
        environment.cpu_libraries(settings)
    except HansomError as error:
        found, _, advice = str(error).partition(": ")
        return Check("libraries", False, found, advice)
    return Check("libraries", True, "all that the engines need")


def check_cpu_instructions(settings: Settings) -> Check:
    """Check whether int8 models on the CPU run at the speed that was measured for them."""
    int8 = [
        tier.name
        for tier in settings.tiers
        if tier.engine.kind == "vllm"
        and not tier.accelerator.per_replica
        and tier.quantization == "w8a8"
    ]
    if not int8:
        return Check("instructions", True, "no tier has int8 weights on the CPU")
    flags = cpu_flags()
    if fast := sorted(flags & INT8_FLAGS):
        return Check("instructions", True, f"int8 by {', '.join(fast)}")
    found = f"no AVX-512 VNNI for the int8 weights of {', '.join(int8)}"
    advice = "quantization: none with dtype: float32 writes 4 times faster here, for more memory"
    return Check("instructions", None, found, advice)


def cpu_flags() -> set[str]:
    """Return the flags of the first CPU; empty where the system does not tell."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8")
    except OSError:
        return set()
    found = re.search(r"^flags\s*:(.*)$", text, re.M)
    return set(found[1].split()) if found else set()
