"""Filter the tiers that can do what a call needs, before any is scored.

Promises: pure; a tier of which nothing is known can do everything. Where no tier that may answer
can, the error says of each of them what it lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.capability import UNKNOWN, Lack, lacks, not_supported
from core.errors import UnknownModel
from router.policy.terms import AUTO, Observation, Policy


@dataclass(frozen=True, slots=True)
class Able:
    """The places of the tiers that may answer a call and can, ascending, never empty.

    `lacking` says in words what each of the others lacks, by its place.
    """

    tiers: tuple[int, ...]
    lacking: Mapping[int, str]

    @property
    def only(self) -> int | None:
        """The one tier that is left of several; None where there is a choice, or never was one."""
        return self.tiers[0] if len(self.tiers) == 1 and self.lacking else None

    @property
    def words(self) -> str:
        """What all the others lack."""
        return "; ".join(self.lacking.values())

    def nearest(self, tier: int) -> int:
        """The tier, or the next dearer one that can; where none of these can, the next cheaper."""
        return next((one for one in self.tiers if one >= tier), self.tiers[-1])


def able(observation: Observation, policy: Policy) -> Able:
    """The tiers that may answer and can; a name that was asked for leaves one.

    Raises `UnknownModel` for a name that no tier has, `NotSupported` or `ContextTooLong` where no
    tier is left.
    """
    auto = observation.requested == AUTO
    places = range(len(policy.tiers)) if auto else (_named(observation.requested, policy),)
    tiers, lacking, kinds = list[int](), dict[int, str](), set[Lack]()
    for place in places:
        name = policy.tiers[place].name
        if found := lacks(observation.needs, observation.capabilities.get(name, UNKNOWN)):
            lacking[place] = f"{name} has {' and '.join(found.values())}"
            kinds |= set(found)
        else:
            tiers.append(place)
    if tiers:
        return Able(tuple(tiers), lacking)
    told = "; ".join(lacking.values())
    if auto:
        raise not_supported(f"No tier can answer this request: {told}.", kinds)
    raise not_supported(f"This request cannot be answered as asked: {told}.", kinds)


def needs_score(observation: Observation, policy: Policy) -> bool:
    """Whether there is a choice of tiers that a score could decide; raises as `able` does."""
    return len(able(observation, policy).tiers) > 1


def _named(requested: str, policy: Policy) -> int:
    """The place of the tier that a name means."""
    for place, tier in enumerate(policy.tiers):
        if requested in (tier.name, tier.model):
            return place
    raise UnknownModel(f"no tier serves '{requested}'", param="model")
