"""Make ids that sort by the time they were made.

A ledger that is keyed by random ids touches a page of its index for every line; with ids in order
of time the lines of one commit lie side by side.
"""

import os
import time

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_LOW_62 = (1 << 62) - 1


def new_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7) as 32 hex digits: milliseconds since 1970, then chance."""
    ms = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10))
    high, low = chance >> 62 & 0xFFF, chance & _LOW_62
    return f"{ms << 80 | _VERSION_7 | high << 64 | _VARIANT | low:032x}"
