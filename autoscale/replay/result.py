"""The result of a replay: SLO attainment, cost, and the fleet over time.

Promises: a request is within the SLO if both its TTFT and its TPOT are; one without an answer is
not; an answer of one token has no TPOT. The TTFT allowed is `ttft_s`, plus `ttft_factor` times the
TTFT that the request has alone on a replica.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.engine_state import REFUSED, Floats, Ints, Records


@dataclass(frozen=True, slots=True)
class Moment:
    """The fleet at one tick, as the scaler saw it; `target` is what it then asked for."""

    at_s: float
    target: int
    ready: int
    starting: int
    nodes: int
    ongoing: int
    held: int


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """One replay. Percentiles are of judged requests that were answered, nan without any.

    `cached_input_share` of the prompt tokens of answered requests were in prefix caches. `judged`
    requests came after the warm-up; `held` came when no replica was ready; `refused` are larger
    than a replica's KV cache; `unserved` still waited when the replay gave up.
    """

    slo_attainment: float
    gpu_hours: float
    usd: float
    replica_moves: int
    ttft_s_p50: float
    ttft_s_p95: float
    ttft_s_p99: float
    tpot_s_p50: float
    tpot_s_p95: float
    tpot_s_p99: float
    cached_input_share: float
    requests: int
    judged: int
    served: int
    held: int
    refused: int
    unserved: int
    node_hours: float
    mean_replicas: float
    peak_replicas: int
    hours: float
    moments: tuple[Moment, ...]
    ttft_s: Floats  # (N,), nan without a first token
    tpot_s: Floats  # (N,), nan with fewer than two tokens
    within: Ints  # (N,) 0 or 1

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the series; null for nan."""
        series = ("moments", "ttft_s", "tpot_s", "within")
        told = {name: getattr(self, name) for name in ReplayResult.__slots__ if name not in series}
        return {name: None if value != value else value for name, value in told.items()}

    def series(self) -> list[dict[str, float]]:
        """The fleet at each tick, JSON-able."""
        return [asdict(moment) for moment in self.moments]


def judge(
    requests: Records,
    profile: EngineProfile,
    slo: Slo,
    warmup_s: float,
    span_s: float,
    node_hours: float,
    held: int,
    moments: Sequence[Moment],
) -> ReplayResult:
    """Sum a replay up; `warmup_s` is a quarter of the trace at most."""
    ttft_s = requests["first_s"] - requests["at_s"] + profile.overhead_s
    later = np.maximum(requests["output_tokens"] - 1, 1)
    tpot_s = np.where(
        requests["output_tokens"] > 1, (requests["done_s"] - requests["first_s"]) / later, np.nan
    )
    answered = ~np.isnan(requests["done_s"])
    allowed_s = np.full(len(ttft_s), slo.ttft_s)
    if slo.ttft_factor:
        allowed_s += slo.ttft_factor * alone_s(profile, requests["input_tokens"])
    within = answered & (ttft_s <= allowed_s) & ~(tpot_s > slo.tpot_s)
    judged = requests["at_s"] >= min(warmup_s, span_s / 4)
    during = [moment for moment in moments if moment.at_s <= span_s]
    targets = np.array([moment.target for moment in during])
    ready = [moment.ready for moment in during]
    refused = int((requests["slot"] == REFUSED).sum())
    return ReplayResult(
        slo_attainment=float(within[judged].mean()) if judged.any() else float("nan"),
        gpu_hours=node_hours * profile.gpus,
        usd=node_hours * profile.usd_per_hour,
        replica_moves=int((np.diff(targets) != 0).sum()),
        **_percentiles("ttft_s", ttft_s[judged & answered]),
        **_percentiles("tpot_s", tpot_s[judged & answered]),
        cached_input_share=_share(requests["cached"][answered], requests["input_tokens"][answered]),
        requests=len(ttft_s),
        judged=int(judged.sum()),
        served=int(answered.sum()),
        held=held,
        refused=refused,
        unserved=len(ttft_s) - refused - int(answered.sum()),
        node_hours=node_hours,
        mean_replicas=float(np.mean(ready)) if ready else float("nan"),
        peak_replicas=max(ready, default=0),
        hours=span_s / 3600,
        moments=tuple(moments),
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        within=within.astype(np.int64),
    )


def alone_s(profile: EngineProfile, input_tokens: Ints) -> Floats:
    """TTFT of each prompt (N,) alone on a replica that has none of it cached.

    Its chunks, each on top of those before.
    """
    chunks = -(-input_tokens // profile.chunk_tokens)
    before = profile.chunk_tokens * chunks * (chunks - 1) / 2
    step_s = profile.base_s + profile.per_sequence_s
    seconds: Floats = (
        profile.overhead_s
        + chunks * step_s
        + before * profile.per_kv_token_s
        + input_tokens / profile.prefill_tokens_per_s
    )
    return seconds


def _share(part: Ints, whole: Ints) -> float:
    return int(part.sum()) / int(whole.sum()) if len(whole) else float("nan")


def _percentiles(name: str, values: Floats) -> dict[str, Any]:
    values = values[~np.isnan(values)]
    found = np.percentile(values, (50, 95, 99)) if len(values) else [float("nan")] * 3
    return {f"{name}_p{p}": float(v) for p, v in zip((50, 95, 99), found, strict=True)}
