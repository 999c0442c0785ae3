"""One finding of `hansom doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `advice` is empty when there is nothing to do."""

    name: str
    ok: bool | None
    found: str
    advice: str = ""
