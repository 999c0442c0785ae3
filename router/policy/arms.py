"""Choose the policy of a call: the operator's, an experiment's arm, or a tenant's override.

Promises: pure; the same unit (a tenant, a user, or a request) always lands in the same arm while
the arms stay as they are; shadow arms are told and never followed.
Not covered: comparing the arms, which the ledger's `router_version` makes possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.call import Decision
from router.policy.policy import decide, draw
from router.policy.terms import SCORED, Observation, Policy


@dataclass(frozen=True, slots=True)
class Arm:
    """A policy for a share of the units, in [0, 1]; a shadow only says what it would have done."""

    name: str
    share: float
    policy: Policy
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a shadow arm would have decided."""

    arm: str
    decision: Decision
    agrees: bool


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    """Every policy there is. A tenant with an override is in no experiment."""

    main: Policy
    arms: tuple[Arm, ...] = ()
    tenants: Mapping[str, Policy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse shares that do not fit into a whole."""
        if sum(arm.share for arm in self.arms if not arm.shadow) > 1 + 1e-9:
            raise ValueError("the shares of the arms that are followed add up to more than 1")

    def policy_for(self, tenant: str, unit: str) -> tuple[Policy, str]:
        """The policy to follow and its arm's name, empty outside of an experiment."""
        if tenant in self.tenants:
            return self.tenants[tenant], ""
        place, upto = draw(f"arm:{unit}"), 0.0
        for arm in self.arms:
            if arm.shadow:
                continue
            upto += arm.share
            if place < upto:
                return arm.policy, arm.name
        return self.main, ""

    def shadows_for(self, unit: str) -> tuple[Arm, ...]:
        """The shadow arms that look at this unit; each draws for itself."""
        return tuple(
            arm for arm in self.arms if arm.shadow and draw(f"{arm.name}:{unit}") < arm.share
        )

    def needs_score(self, policy: Policy, shadows: tuple[Arm, ...]) -> bool:
        """Whether a score changes anything that will be decided."""
        return any(one.strategy in SCORED for one in (policy, *(arm.policy for arm in shadows)))


def shadowed(
    observation: Observation, decision: Decision, shadows: tuple[Arm, ...]
) -> tuple[Shadow, ...]:
    """What each shadow would have decided for a call that was decided already."""
    told = [(arm.name, decide(observation, arm.policy)) for arm in shadows]
    return tuple(Shadow(name, other, other.tier == decision.tier) for name, other in told)
