"""What a scrape of the endpoint can give, read from the code that exports it: series by name, with
their types, their labels, and the values that a label can have where the code has a list of them.
"""

import importlib.util
import re
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from autoscale.policy.demand import ScalingCode as ScaleCode
from cache.language.mismatch import Mismatch
from cache.semantic.consensus import ServedBy
from core import errors
from core.call import Lane
from core.ledger_line import Kind, Outcome
from core.metrics import Metrics
from core.settings.load import SimulatedEngine
from deployments.gateway.outlook import families as scale_families
from deployments.gateway.scrape import merge
from deployments.ledger.drain import Ledger
from deployments.router.router import Router
from deployments.tier.simulated.engine import Simulated
from router.policy.terms import RoutingCode
from tests.deployments.rig import settings_of
from tests.docs import pages
from tests.promql import Series

# What the merged scrape and Prometheus itself add.
_ADDED = frozenset({"app", "replica", "job", "instance"})
_STATUSES = {
    kind.status for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.HansomError)
}  # fmt: skip
_SEMANTIC = {
    *ServedBy, *Mismatch, "unsure", "disagreement", "distant", "explore", "late", "unavailable",
    "answer_gone", "switched_off", "probing",
}  # fmt: skip
LIMITS = {"requests", "tokens", "usd", "concurrency"}
# By metric and label; what is not here is a tier, an arm or a number that the settings bound.
VALUES: dict[str, dict[str, set[str]]] = {
    "hansom_requests": {
        "endpoint": {"chat/completions", "completions", "embeddings", "feedback"},
        "status": {str(status) for status in _STATUSES | {200, 499}},
    },
    "hansom_attempts": {"kind": set(Kind), "outcome": set(Outcome)},
    "hansom_routes": {"code": set(RoutingCode)},
    "hansom_escalations": {"verdict": {"kept", "escalated", "saved"}},
    "hansom_shadow_decisions": {"agrees": {"yes", "no"}},
    "hansom_cache_lookups": {"result": {"exact", "semantic", "miss", "off"}},
    "hansom_semantic_lookups": {"result": _SEMANTIC},
    "hansom_semantic_check_lookups": {"result": {"same", "other", "unclear"}},
    "hansom_semantic_verdict_lookups": {"result": {"yes", "no", "none", "skipped"}},
    "hansom_shared_requests": {"kind": {"led", "joined"}},
    "hansom_tokens": {"kind": {"fresh_input", "cached_input", "output"}},
    "hansom_refusals": {"limit": {*LIMITS, "key"}},
    "hansom_soft_limits": {"limit": {"tokens", "usd"}},
    "hansom_scale_decisions": {"code": set(ScaleCode)},
    **{f"hansom_{wait}_seconds": {"lane": set(Lane)} for wait in ("ttft", "request")},
    "hansom_trace_spans": {"result": {"sent", "failed", "dropped"}},
}


def families() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and own labels of every family of ours and of vLLM's that `docs/metrics.md` has."""
    simulated = Simulated(SimulatedEngine(kind="simulated"), "any")
    parts: list[Any] = [
        Router(None, "error"),
        Ledger(settings_of(), "redis://127.0.0.1:1", "sqlite://"),
        simulated,
    ]
    found = of_registry(Metrics().registry)
    for part in parts:
        found |= of_registry(part._registry)
    for family in text_string_to_metric_families(merge({})):
        found[family.name] = (family.type, frozenset())
    for one in scale_families({}):
        found[one.name] = (one.type, frozenset(one._labelnames))  # type: ignore[attr-defined]
    told = pages.rows("docs/metrics.md", "vLLM metric")
    found |= {name: one for name, one in of_vllm().items() if name in told}
    return found


def of_registry(registry: CollectorRegistry) -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of what a registry of ours holds, also before there is a sample."""
    found = {}
    for collector in registry._collector_to_names:
        for family in collector.describe():  # type: ignore[attr-defined]
            labels: tuple[str, ...] = getattr(collector, "_labelnames", ())
            found[family.name] = (family.type, frozenset(labels))
    return found


def of_vllm() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of the metrics that the pinned vLLM always has, from its source."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    source = (Path(spec.origin).parent / "v1" / "metrics" / "loggers.py").read_text()
    made = re.findall(
        r"_(gauge|counter|histogram)_cls\(\s*name=\"(vllm:\w+)\".*?labelnames=([^\n]*),\n",
        source,
        re.S,
    )
    found = {}
    for kind, name, labels in made:
        own = set(re.findall(r'"(\w+)"', labels))
        if labels.startswith("labelnames"):
            own |= {"model_name", "engine"}
        found[name] = (kind, frozenset(own))
    return found


def series() -> dict[str, Series]:
    """Every series name that Prometheus has of them."""
    found: dict[str, Series] = {}
    once = {"hansom_scrape_failures", *(one.name for one in scale_families({}))}
    for name, (kind, own) in families().items():
        labels = own | ({"job", "instance"} if name in once else _ADDED)
        values = {label: frozenset(map(str, some)) for label, some in VALUES.get(name, {}).items()}
        if kind == "counter":
            found[f"{name}_total"] = Series("counter", labels, values)
        elif kind == "histogram":
            found[f"{name}_bucket"] = Series("counter", labels | {"le"}, values)
            found[f"{name}_count"] = found[f"{name}_sum"] = Series("counter", labels, values)
        else:
            found[name] = Series("gauge", labels, values)
    found["up"] = Series("gauge", frozenset({"job", "instance"}))
    return found
