"""Read what this machine's CPU does in hardware, and how much memory the machine has.

Promises:
- A system that does not tell is taken to have no such instructions and no memory to spare.
"""

import os
import re
from functools import cache
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# Any of these multiplies int8 matrices in hardware.
INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


@cache
def int8_flags() -> frozenset[str]:
    """Return the instructions of the first CPU that multiply int8 matrices."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    found = re.search(r"^flags\s*:(.*)$", text, re.M)
    return INT8_FLAGS & set(found[1].split()) if found else frozenset()


def memory_gib() -> float:
    """Return the machine's main memory in GiB; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):
        return 0.0
