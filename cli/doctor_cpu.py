"""Check what engines on the CPU need: libraries of the system, and instructions of the CPU."""

from cli.doctor_check import Check
from core import cpu
from core.errors import HansomError
from core.settings.load import Settings
from deployments.machine import environment


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
    if fast := sorted(cpu.int8_flags()):
        return Check("instructions", True, f"int8 by {', '.join(fast)}")
    found = f"no AVX-512 VNNI for the int8 weights of {', '.join(int8)}"
    advice = "quantization: none with dtype: float32 writes 4 times faster here, for more memory"
    return Check("instructions", None, found, advice)
