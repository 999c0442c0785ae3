"""Adapt the scaling policy to Ray Serve: a context in, a number of replicas out.

Serve runs the policies of all applications one after another in its controller, every 0.1 s; one
that raises stops all of them. So: `Adapter` promises never to raise, whatever the context, the
rules or the profile are (the number of replicas then stays, and the record says why), and never to
wait: `autoscale.live.record_store` does what takes time. A decision is made every `DECIDE_EVERY_S`,
and at once when calls begin to be held; between two the last one is given again. After a restart
the memory is the one of the last record.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from autoscale.live.observe import FleetState, HeldCalls, LoadReport, asked_for, observe
from autoscale.live.record_store import READ_BACK_S, KeyValue, Offer, RecordWriter
from autoscale.policy import memory as policy_memory
from autoscale.policy.decide import PolicyMemory, decide
from autoscale.policy.gpu_budget import BOARD, GpuAllotment, GpuBudget
from autoscale.policy.profile import EngineProfile
from autoscale.policy.rules import ScalingRules
from autoscale.policy.signals import View, WantedReplicas
from core.settings.scaling import Scaling

DECIDE_EVERY_S = 0.25
KEPT_CHANGES = 20

_FLEET = TypeAdapter(FleetState)


@dataclass(frozen=True, slots=True)
class _Made:
    """The last decision and what it was made of."""

    view: View
    wanted: WantedReplicas
    took_s: float


class Adapter:
    """One tier's policy. `rules` and `profile` are what `told_rules` and pydantic's JSON make.

    `budget` is what `GpuAllotment.told` makes, None where GPUs are not shared; `board` is of all
    tiers.
    """

    def __init__(
        self,
        tier: str,
        rules: Mapping[str, Any],
        profile: Mapping[str, Any],
        shelf: KeyValue,
        budget: Mapping[str, Any] | None = None,
        board: GpuBudget = BOARD,
    ) -> None:
        self._tier = tier
        self._board = board
        self._budget: GpuAllotment | None = None
        self._memory = PolicyMemory.new()
        self._fleet = FleetState()
        self._made: _Made | None = None
        self._codes = Counter[str]()
        self._changes: deque[dict[str, Any]] = deque(maxlen=KEPT_CHANGES)
        self._errors, self._error = 0, ""
        self._since_s = time.monotonic()
        self._started = self._read_back = False
        self._rules: ScalingRules | None = None
        try:
            self._profile = EngineProfile.model_validate(profile)
            self._budget = None if budget is None else GpuAllotment.read(budget)
            self._rules = read_rules(rules)
        except Exception as error:
            self._failed(error)
        holds = self._rules is None or self._rules.min_replicas == 0
        self._keeper = RecordWriter(shelf, tier, holds=holds)

    def __call__(self, ctx: Any) -> tuple[int, dict[str, Any]]:
        """Replicas wanted, and no state of Serve's: it would not outlive the controller."""
        try:
            return self._tick(ctx), {}
        except Exception as error:
            self._failed(error)
            return _target(ctx, self._made), {}

    def _tick(self, ctx: Any) -> int:
        if not self._started:
            self._started = True
            self._keeper.start()
        target = _target(ctx, self._made)
        self._board.stands(self._tier, target, time.monotonic())
        if self._rules is None:
            self._tell(target)
            return target
        if not self._read_back and not self._remembers():
            return target
        now_s = _now(ctx)
        if not self._due(now_s, target):
            assert self._made is not None
            return self._made.wanted.replicas
        return self._decide(ctx, now_s, target, self._rules)

    def _remembers(self) -> bool:
        """Whether the last record was read, or is waited for no more."""
        keeper = self._keeper
        if not keeper.loaded and time.monotonic() - self._since_s < READ_BACK_S:
            return False
        self._read_back = True
        found = keeper.found or {}
        self._memory = policy_memory.load(found.get("memory"))
        try:
            self._fleet = _FLEET.validate_python(found.get("fleet") or {})
        except ValueError:
            self._fleet = FleetState()
        self._codes.update(_counts(found.get("decisions")))
        changes = found.get("changes")
        if isinstance(changes, list):
            self._changes.extend(one for one in changes if isinstance(one, dict))
        return True

    def _due(self, now_s: float, target: int) -> bool:
        made = self._made
        if made is None or not 0 <= now_s - made.view.now_s < DECIDE_EVERY_S:
            return True
        return target == 0 and bool(self._keeper.held.calls) and not made.view.traffic.held

    def _decide(self, ctx: Any, now_s: float, target: int, rules: ScalingRules) -> int:
        begun_s = time.perf_counter()
        ready, told = reports(ctx)
        held: HeldCalls = self._keeper.held
        view, self._fleet = observe(now_s, target, ready, told, held, self._fleet)
        wanted, self._memory = decide(view, self._memory, rules, self._profile)
        if self._budget is not None:
            wanted = self._board.grant(self._tier, wanted, self._budget, time.monotonic())
        self._fleet = asked_for(self._fleet, wanted.replicas, now_s)
        self._made = _Made(view, wanted, time.perf_counter() - begun_s)
        self._codes[str(wanted.code)] += 1
        changed = None
        if wanted.replicas != target:
            changed = {"at_s": now_s, "before": target, "wanted": wanted.replicas,
                       "code": str(wanted.code), "reason": wanted.reason}  # fmt: skip
            if not self._changes or self._changes[-1]["wanted"] != wanted.replicas:
                self._changes.append(changed)
            else:
                changed = None  # Serve has not followed yet
        self._tell(target, changed)
        return wanted.replicas

    def _tell(self, target: int, changed: Mapping[str, Any] | None = None) -> None:
        """Offer the record; what it holds is frozen, so it may be rendered later."""
        told: dict[str, Any] = {
            "tier": self._tier, "target": target, "errors": self._errors, "error": self._error,
            "decisions": dict(self._codes), "changes": list(self._changes),
        }  # fmt: skip
        profile = None if self._rules is None else self._profile
        record = partial(_record, told, self._made, profile, self._memory, self._fleet)
        self._keeper.offer(Offer(record, changed))

    def _failed(self, error: Exception) -> None:
        self._errors += 1
        self._error = f"{type(error).__name__}: {error}"[:500]


def _record(
    told: dict[str, Any],
    made: _Made | None,
    profile: EngineProfile | None,
    memory: PolicyMemory,
    fleet: FleetState,
) -> dict[str, Any]:
    """What is written down; made in the keeper's thread."""
    if made is not None and profile is not None:
        told |= {
            "at_s": made.view.now_s,
            "wanted": asdict(made.wanted),
            "view": asdict(made.view),
            "took_ms": round(made.took_s * 1e3, 3),
            "lead_s": memory.lead_s(profile.lead_s),
            "profile": profile.name,
            "within_share": memory.headroom.within,
            "headroom_level": round(memory.headroom.level, 3),
        }
    return told | {"fleet": asdict(fleet), "memory": policy_memory.dump(memory)}


def told_rules(rules: ScalingRules) -> dict[str, Any]:
    """Rules as JSON, for the controller."""
    return {
        "min_replicas": rules.min_replicas,
        "max_replicas": rules.max_replicas,
        "scaling": rules.scaling.model_dump(mode="json"),
    }


def read_rules(told: Mapping[str, Any]) -> ScalingRules:
    """What `told_rules` made; ValueError, TypeError or KeyError for anything else."""
    return ScalingRules(
        int(told["min_replicas"]),
        int(told["max_replicas"]),
        Scaling.model_validate(told["scaling"]),
    )


def reports(ctx: Any) -> tuple[list[str], dict[str, LoadReport]]:
    """The running replicas of Serve's context, and the last report of each that told any."""
    ready = [_name(one) for one in ctx.running_replicas or ()]
    stats: dict[str, dict[str, float]] = {}
    for metric, series in (ctx.raw_metrics or {}).items():
        for replica, values in series.items():
            if values:
                stats.setdefault(_name(replica), {})[str(metric)] = values[-1].value
    told = {id: LoadReport.of(found) for id, found in stats.items()}
    return ready, {id: report for id, report in told.items() if report is not None}


def _name(replica: Any) -> str:
    return str(getattr(replica, "unique_id", replica))


def _now(ctx: Any) -> float:
    now_s = float(ctx.current_time)
    return now_s if math.isfinite(now_s) else time.time()


def _target(ctx: Any, made: _Made | None) -> int:
    """The number of replicas there are to be now; the last wanted where the context lacks it."""
    try:
        return max(0, int(ctx.target_num_replicas))
    except Exception:
        return made.wanted.replicas if made is not None else 1


def _counts(told: object) -> dict[str, int]:
    if not isinstance(told, dict):
        return {}
    return {str(code): count for code, count in told.items() if isinstance(count, int)}
