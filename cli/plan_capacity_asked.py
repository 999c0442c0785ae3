"""What `hansom plan capacity` was asked for, and how its `TIER=VALUE` options are read.

Promised: a mistake raises `UsageError` with one sentence that names the option.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from autoscale.capacity.season_fit import Launch
from autoscale.policy.profile import Slo
from autoscale.replay.replay import ROUTINGS
from cli import usage
from cli.usage import UsageError
from ledger.reports.span import parse

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlanCapacityOptions:
    """The options of the command; None was not given."""

    trace: Path | None
    from_ledger: bool
    hours: float | None
    profiles: tuple[str, ...]
    shares: tuple[str, ...]
    quality: Path | None
    hit_rate: float | None
    days: int
    growth_percent: float | None
    launches: tuple[str, ...]
    ended: str | None
    scale: float
    slo_share: float
    nodes: tuple[str, ...]
    have: tuple[str, ...]
    headroom_percent: float
    failures: int
    coverage: float
    what_ifs: tuple[str, ...]
    routing: str
    seed: int
    max_replicas: int
    profile_file: Path
    machine_file: Path
    config: Path

    def checked(self) -> "PlanCapacityOptions":
        """Itself; raises `UsageError` for what no plan can be made of."""
        if self.from_ledger == (self.trace is not None):
            raise UsageError("Give a TRACE or --from-ledger, one of them.")
        if self.from_ledger and (self.ended is not None or self.scale != 1):
            raise UsageError("--ended and --scale are for a TRACE.")
        if self.hours is not None and not (self.from_ledger and self.hours > 0):
            raise UsageError("--hours is for --from-ledger, and above 0.")
        if self.quality is not None and self.shares:
            raise UsageError("--quality and --share both say the mix: give one of them.")
        for name, value in (("--slo-share", self.slo_share), ("--coverage", self.coverage)):
            if not 0 < value < 1:
                raise UsageError(f"{name} must be between 0 and 1 (got {value:g}).")
        if self.hit_rate is not None:
            ratio("--hit-rate", str(self.hit_rate), below=1)
        if self.growth_percent is not None and not self.growth_percent > -100:
            raise UsageError(f"--growth must be above -100 (got {self.growth_percent:g}).")
        if self.routing not in ROUTINGS:
            raise UsageError(f"--routing is one of {', '.join(ROUTINGS)} (got {self.routing}).")
        return self

    def launched(self) -> tuple[Launch, ...]:
        """The launches; `UsageError` for one that is not DATE:FACTOR:NAME."""
        return tuple(_launch(text) for text in self.launches)


def slo_of(ttft_s: float, ttft_factor: float, tpot_s: float) -> Slo:
    """The SLO that three options say."""
    for name, value in (("--slo-ttft", ttft_s), ("--slo-tpot", tpot_s)):
        if not value > 0:
            raise UsageError(f"{name} must be above 0 (got {value:g}).")
    return Slo(ttft_s=ttft_s, ttft_factor=ttft_factor, tpot_s=tpot_s)


def by_tier(
    option: str, texts: Sequence[str], tiers: Sequence[str], read: Callable[[str], T]
) -> dict[str, T]:
    """TIER=VALUE of each tier; a value without a tier is every tier's."""
    found: dict[str, T] = {}
    for text in texts:
        tier, equals, value = text.rpartition("=")
        if equals and tier not in tiers:
            raise UsageError(f"{option}: there is no tier {tier}; there are {', '.join(tiers)}.")
        for name in [tier] if equals else tiers:
            found[name] = read(value)
    return found


def ratio(option: str, text: str, below: float | None = None) -> float:
    """A share from 0 to 1, or under `below`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1 or (below is not None and value >= below):
        raise UsageError(f"{option} is a share from 0 to 1 (got {text}).")
    return value


def count(option: str, text: str) -> int:
    """A whole number of 0 or more."""
    if not text.isdecimal():
        raise UsageError(f"{option} is a whole number (got {text}).")
    return int(text)


def _launch(text: str) -> Launch:
    day, _, rest = text.partition(":")
    factor, _, name = rest.partition(":")
    try:
        value = float(factor)
    except ValueError:
        value = 0.0
    if not (0 < value < float("inf") and name):
        raise UsageError(f"--launch is DATE:FACTOR:NAME, say 2027-02-01:1.5:search (got {text}).")
    with usage.options():
        return Launch(name, parse(day), value)
