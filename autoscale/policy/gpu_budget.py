"""Grant GPUs that several tiers share, as their policies decide.

Serve runs the policies of all tiers one after another in one process, so one `GpuBudget` in it
holds what each tier has and wanted last. A tier is granted its share (`autoscale.policy.gpu_share`)
of the last wishes; more than it has only as far as the others leave room now. So whoever is to give
replicas back does so first, at its own next decision.

Promises: pure apart from the board; what the tiers are granted passes the budget at no moment, once
each that has more than its floor is on the board; room for every tier's floor is kept free, also of
one that is not there. A tier that is not heard of for `STALE_S` is taken to have its floor. After a
restart of the controller each tier is on the board with its first tick, before any decides.
Not covered: replicas that finish their last calls, which hold their GPUs until they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autoscale.policy.demand import ScalingCode
from autoscale.policy.gpu_share import TierDemand, share
from autoscale.policy.signals import WantedReplicas

STALE_S = 60.0


@dataclass(frozen=True, slots=True)
class TierPart:
    """What one tier takes: GPUs of a replica, and its fewest replicas."""

    gpus: int
    floor: int


@dataclass(frozen=True, slots=True)
class GpuAllotment:
    """GPUs for all tiers together, and each tier's part, in the order of the settings."""

    gpus: int
    tiers: Mapping[str, TierPart] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """Return the grants as JSON for the controller."""
        tiers = {name: [part.gpus, part.floor] for name, part in self.tiers.items()}
        return {"gpus": self.gpus, "tiers": tiers}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> GpuAllotment:
        """What `told` made; ValueError, TypeError, KeyError or AttributeError otherwise."""
        parts = {
            str(name): TierPart(int(gpus), int(floor))
            for name, (gpus, floor) in told["tiers"].items()
        }
        return cls(int(told["gpus"]), parts)


@dataclass(frozen=True, slots=True)
class _Post:
    """One tier at `at_s`: replicas that it has or was granted, and its last wish."""

    at_s: float
    replicas: int
    wish: WantedReplicas


class GpuBudget:
    """What the tiers of one process have and want."""

    def __init__(self) -> None:
        self._posts: dict[str, _Post] = {}

    def stands(self, tier: str, replicas: int, now_s: float) -> None:
        """A tier is to have so many replicas now, by what Serve was told last."""
        post = self._posts.get(tier)
        wish = (
            post.wish if post else WantedReplicas(replicas, ScalingCode.STEADY, "not decided yet")
        )
        self._posts[tier] = _Post(now_s, replicas, wish)

    def grant(
        self, tier: str, wanted: WantedReplicas, budget: GpuAllotment, now_s: float
    ) -> WantedReplicas:
        """What a tier that stands on the board gets of what it wants; KeyError for another one."""
        post = self._posts[tier] = replace(self._posts[tier], at_s=now_s, wish=wanted)
        held = {name: self._held(name, part, now_s) for name, part in budget.tiers.items()}
        standings = [
            TierDemand(
                name, self._wish(name, part, now_s), part.gpus,
                value=part.gpus,  # a GPU is worth as much in each tier
                has=held[name], floor=part.floor,
            )
            for name, part in budget.tiers.items()
        ]  # fmt: skip
        granted = share(standings, budget.gpus)[tier]
        part = budget.tiers[tier]
        if part.gpus and granted.replicas > post.replicas:
            others = sum(
                held[name] * one.gpus for name, one in budget.tiers.items() if name != tier
            )
            most = max(post.replicas, (budget.gpus - others) // part.gpus)
            if most < granted.replicas:
                why = f"{wanted.replicas} wanted; other tiers have {others} of {budget.gpus} GPUs"
                granted = WantedReplicas(most, ScalingCode.BUDGET, f"{wanted.reason}; {why}")
        self._posts[tier] = replace(post, replicas=granted.replicas)
        return granted

    def _fresh(self, tier: str, now_s: float) -> _Post | None:
        post = self._posts.get(tier)
        return post if post is not None and now_s - post.at_s <= STALE_S else None

    def _held(self, tier: str, part: TierPart, now_s: float) -> int:
        post = self._fresh(tier, now_s)
        return part.floor if post is None else max(part.floor, post.replicas)

    def _wish(self, tier: str, part: TierPart, now_s: float) -> WantedReplicas:
        post = self._fresh(tier, now_s)
        return (
            WantedReplicas(part.floor, ScalingCode.FLOOR, "not heard of")
            if post is None
            else post.wish
        )


BOARD = GpuBudget()
"""Of this process: all policies that Serve's controller runs share it."""
