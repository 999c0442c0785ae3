"""The inputs of a routing policy, and what it observes.

Every value is frozen; a policy that could not decide cannot be made. Deciding is
`router.policy.policy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from core.call import Risk, TierSignal, Value
from core.capability import NONE, Capabilities, Needs
from router.policy.promise import Promise
from router.score.model import Score

AUTO = "auto"


class Strategy(StrEnum):
    """How a call that names no tier is placed."""

    LEARNED = "learned"
    HEURISTIC = "heuristic"
    CASCADE = "cascade"
    LLM = "llm"
    ALWAYS_SMALL = "always_small"
    ALWAYS_LARGE = "always_large"
    RANDOM = "random"


SCORED = frozenset({Strategy.LEARNED, Strategy.CASCADE})


class RoutingCode(StrEnum):
    """Why a call went where it went, for metrics and the response header."""

    EXPLICIT = "explicit"
    RISK = "risk"
    CAPABILITY = "capability"
    EASY = "easy"
    HARD = "hard"
    FAR = "far"
    CHECKED = "checked"
    ESCALATED = "escalated"
    ALWAYS = "always"
    RANDOM = "random"
    UNSCORED = "unscored"
    LARGE_BUSY = "large_busy"
    LATE = "late"
    SMALL_UNAVAILABLE = "small_unavailable"
    LARGE_UNAVAILABLE = "large_unavailable"
    NONE_AVAILABLE = "none_available"
    FALLBACK = "fallback"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TierName:
    """A tier's name and the model it serves; a caller may ask for either."""

    name: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator set.

    `tiers` run from cheap to dear, with one ascending cut-off between each two. A `promise` puts
    its own in their place, and sends to the dearest tier what it was not made for; with `follow`
    the cut-off that a score brings does, so that new weights and labels move it. Either is one
    number, which `router.policy.cutoffs.spread` makes one for each tier of, and so it does with
    `heuristic_threshold`. `random_large_share` is the dearest of two tiers' part.
    `busy_threshold` replaces the last cut-off while the dearest tier has more than `busy_waiting`
    calls in its queue; None leaves the queue out of it. Under `cascade` an answer of a tier below
    the dearest is kept only while its doubt is below `doubt`; with `predict` calls above the
    cut-off do not try there first. A tier with a share of errors above `max_error_ratio` counts as
    down.
    """

    tiers: tuple[TierName, ...]
    thresholds: tuple[float, ...]
    strategy: Strategy = Strategy.LEARNED
    heuristic_threshold: float = 0.7
    random_large_share: float = 0.5
    promise: Promise | None = None
    follow: bool = False
    busy_waiting: int | None = None
    busy_threshold: float = 1.0
    doubt: float = 0.5
    predict: bool = True
    max_error_ratio: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a policy that could not decide."""
        if not self.tiers or len(self.thresholds) != len(self.tiers) - 1:
            raise ValueError(f"{len(self.tiers)} tiers want one threshold fewer than tiers")
        if list(self.thresholds) != sorted(self.thresholds):
            raise ValueError(f"thresholds must ascend with the tiers: {self.thresholds}")
        if self.promise is not None and self.promise.tiers != len(self.tiers):
            raise ValueError(
                f"a promise for {self.promise.tiers} tiers is none for {len(self.tiers)}"
            )
        if self.thresholds and self.busy_threshold < self.thresholds[-1]:
            raise ValueError("busy_threshold must not be below the last threshold")


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of one call. A tier without a signal counts as up and idle.

    `budget_left` is the share of the caller's budget that is left, in [0, 1], None without a
    budget; `deadline_s` the seconds in which the answer must have begun, None without one;
    `resident` the share of the prompt, in [0, 1], whose KV cache a tier holds. `verdict` is what
    the small model thinks of a call's hardness, in [0, 1], for the strategy `llm`; `domain` is the
    caller's word for what the call is about, empty without one. `needs` are what the call needs of
    a tier, and `capabilities` what each tier can do; one that is not in it can do everything.
    """

    request_id: str
    requested: str
    signals: Mapping[str, TierSignal]
    score: Score | None = None
    text: str = ""
    risk: Risk = Risk.NORMAL
    value: Value = Value.NORMAL
    budget_left: float | None = None
    deadline_s: float | None = None
    resident: Mapping[str, float] | None = None
    verdict: float | None = None
    domain: str = ""
    needs: Needs = NONE
    capabilities: Mapping[str, Capabilities] = field(default_factory=dict)
