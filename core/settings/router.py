"""Settings of the router: strategies, experiments, the cascade, the label store."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from core.files.shipped import ROOT, LocatedPath
from core.settings.base import Frozen, SteadyReplicas

StrategyName = Literal[
    "learned", "heuristic", "cascade", "llm", "random", "always_small", "always_large"
]

CutOff = Annotated[float, Field(ge=-1, le=1)]
# One for all tiers, or one below each tier but the first.
CutOffs = CutOff | tuple[CutOff, ...]


class Cascade(Frozen):
    """How an answer of a cheaper tier is judged under the strategy `cascade`."""

    doubt: float = Field(0.5, ge=0, le=1)
    predict: bool = True
    streams: Literal["route", "prefix", "hold"] = "route"
    prefix_tokens: int = Field(16, ge=1, le=256)
    logprobs: bool = True
    second_sample: bool = False
    perplexity: float | None = Field(None, gt=1)

    @model_validator(mode="after")
    def _prefix_is_judged(self) -> Self:
        if self.streams == "prefix" and not self.logprobs:
            raise ValueError("streams: prefix judges log-probabilities, so logprobs must be true")
        return self


class RouterMemory(Frozen):
    """What the router keeps of scored prompts, as numbers, so that feedback can teach it."""

    on: bool = True
    keep_s: int = Field(86_400, ge=60)
    max_labels: int = Field(5000, ge=20)
    refresh_s: float = Field(10.0, gt=0)


class Route(Frozen):
    """A strategy with its own cut-off, for a tenant or as an arm of an experiment."""

    strategy: StrategyName
    threshold: CutOffs | None = None


class ArmSettings(Route):
    """A share of the callers, stable for each, that is routed otherwise; a shadow is only told."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    percent: float = Field(gt=0, le=100)
    shadow: bool = False


class RouterSettings(Frozen):
    """How `model: auto` is routed. `threshold` None means the one the weights were shipped with."""

    strategy: StrategyName = "learned"
    weights: LocatedPath = ROOT / "router" / "weights" / "v3"
    threshold: CutOffs | None = None
    promise: LocatedPath | None = None
    timeout_s: float = Field(2.0, gt=0)
    embed_timeout_s: float = Field(0.25, gt=0)
    replicas: SteadyReplicas = SteadyReplicas()
    cascade: Cascade = Cascade()
    memory: RouterMemory = RouterMemory()
    arms: tuple[ArmSettings, ...] = ()
    tenants: dict[str, Route] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _arms_fit(self) -> Self:
        names = [arm.name for arm in self.arms]
        if clashes := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"arms must have different names: {clashes}")
        if (total := sum(arm.percent for arm in self.arms if not arm.shadow)) > 100:
            raise ValueError(f"the arms' percent add up to {total:g}, which is more than 100")
        return self

    def check_cut_offs(self, tiers: int) -> None:
        """Raise `ValueError` for a list of cut-offs that does not fit so many tiers."""
        named = {"router.threshold": self.threshold}
        named |= {f"router.arms ({arm.name}) threshold": arm.threshold for arm in self.arms}
        named |= {
            f"router.tenants.{name}.threshold": route.threshold
            for name, route in self.tenants.items()
        }
        for name, given in named.items():
            if not isinstance(given, tuple):
                continue
            if len(given) != tiers - 1:
                raise ValueError(
                    f"{name} needs {tiers - 1} cut-offs, one below each tier but the first, and "
                    f"has {len(given)}; one number without brackets does for any number of tiers"
                )
            if any(upper <= lower for lower, upper in pairwise(given)):
                raise ValueError(
                    f"{name} must ascend: of two equal cut-offs the tier between gets no call; "
                    f"got {list(given)}"
                )

    @property
    def strategies(self) -> frozenset[str]:
        """Every strategy that may decide or shadow a call."""
        others = [route.strategy for route in (*self.arms, *self.tenants.values())]
        return frozenset([self.strategy, *others])
