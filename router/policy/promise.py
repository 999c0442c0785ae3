"""Read a promise of quality that `hansom router calibrate --out` wrote.

Promises: only what is needed to decide is read, and a file that is none is refused with the reason.
A call that the promise was not made for (too far from the graded prompts, or of a domain that was
not graded) is named as such; the policy sends it to the dearest tier.
Not covered: making one (`router.tuning.guarantee`), and whether it still holds: new weights, labels
from feedback and other traffic end it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from core.errors import SettingsError
from core.files import text_file
from core.files.problem import missing
from router.score.model import SURFACE_ONLY


@dataclass(frozen=True, slots=True)
class PromisePart:
    """The cut-off of some domains; of all of them when it covers none by name."""

    threshold: float
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Promise:
    """Cut-offs, the distance up to which they hold, and the weights they were made with.

    `tiers` is for how many tiers it was made: `router.policy.cutoffs.spread` makes their cut-offs
    of one.
    """

    parts: tuple[PromisePart, ...]
    distance_limit: float | None
    version: str
    tiers: int = 2

    def cut_off(self, domain: str) -> float:
        """The cut-off to spread over the tiers; -inf where no part is for the domain."""
        part = self._part(domain)
        return float("-inf") if part is None else part.threshold

    def beyond(self, distance: float, domain: str, version: str) -> str:
        """Why the promise was not made for a call, or nothing.

        Labels that were added since (`v3+200`) do not end it here: they are the operator's choice.
        """
        if version.partition("+")[0].removesuffix(SURFACE_ONLY) != self.version:
            return f"the promise was made with the weights {self.version}, not {version}"
        if self.distance_limit is not None and distance > self.distance_limit:
            return f"distance {distance:.3f} is beyond the promise's {self.distance_limit:.3f}"
        if self._part(domain) is None:
            return f"the promise has no cut-off for the domain {domain!r}"
        return ""

    def _part(self, domain: str) -> PromisePart | None:
        return next((part for part in self.parts if not part.covers or domain in part.covers), None)


def load(path: Path, tiers: int) -> Promise:
    """Read a promise that was made for so many tiers; raises `SettingsError`."""
    try:
        told = json.loads(text_file.read(path))
        limit = told["distance_limit"]
        parts = tuple(
            PromisePart(float(part["threshold"]), tuple(str(name) for name in part["covers"]))
            for part in told["parts"]
        )
        promise = Promise(
            parts,
            None if limit is None else float(limit),
            str(told["router_version"]),
            int(told.get("tiers", 2)),  # files of older versions are for two
        )
    except (ValueError, KeyError, TypeError) as error:
        why = "is not what `hansom router calibrate --out` writes"
        raise SettingsError(path, [f"{why}: {missing(error)}"]) from error
    if not promise.parts:
        raise SettingsError(path, ["has no cut-offs"])
    if promise.tiers != tiers:
        wrong = (
            f"router.promise: it was made for {promise.tiers} tiers, and the settings have {tiers}"
            ". Make one with `hansom router calibrate` from rows that are graded for each tier's "
            "model (--between names the models between the cheapest and the dearest), or take "
            "router.promise out of the settings."
        )
        raise SettingsError(path, [wrong])
    return promise
