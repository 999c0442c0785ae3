"""numba's decorator for the replay's engine.

Promises: what is compiled is kept on disk for the next run, and made anew once any file of the
engine (`engine_*.py` here) has changed. numba itself notices only changes of the file that a
function stands in, not of those that it calls; so the name that it keeps a function by holds a
digest of all of them.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_F = TypeVar("_F", bound=Callable[..., Any])


def _digest() -> str:
    files = sorted(Path(__file__).parent.glob("engine_*.py"))
    return hashlib.sha256(b"".join(one.read_bytes() for one in files)).hexdigest()[:12]


_DIGEST = _digest()


def compiled(function: _F) -> _F:
    """`function`, compiled; its type is kept."""
    function.__qualname__ += f"_{_DIGEST}"
    try:
        return cast(_F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no place on disk
        return cast(_F, numba.njit(nogil=True)(function))
