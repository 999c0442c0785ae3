"""Every metric of the gateway, declared once, with its unit in its name.

Label sets are bounded: tiers and models come from the settings, codes and kinds from enums. What
a client sends (model names, ids, tenants) is never a label. The engines export vLLM's own metrics;
`deployments.gateway.scrape` merges all replicas into one scrape. Histograms here are exact sums,
which Ray's own are not (they add up bucket midpoints).
"""

from functools import cache
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase

# A `_created` series beside each counter doubles a scrape and nothing reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no hints here

Kind = TypeVar("Kind", bound=MetricWrapperBase)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_TPOT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


def new_registry() -> CollectorRegistry:
    """A registry for one deployment's own metrics."""
    return CollectorRegistry()


class Metrics:
    """The gateway's registry; one per replica process."""

    def __init__(self) -> None:
        self.registry = new_registry()
        self.requests = self._counter(
            "hansom_requests", "Requests by endpoint and HTTP status.", "endpoint", "status"
        )
        self.attempts = self._counter(
            "hansom_attempts", "Attempts on a tier by kind and outcome.", "tier", "kind", "outcome"
        )
        self.routes = self._counter(
            "hansom_routes", "Routing decisions by tier and reason code.", "tier", "code"
        )
        self.shadows = self._counter(
            "hansom_shadow_decisions",
            "What shadow arms would have decided, by arm, tier and agreement: yes, no.",
            "arm", "tier", "agrees",
        )  # fmt: skip
        self.escalations = self._counter(
            "hansom_escalations", "Cascade answers by tier and verdict: kept, escalated, saved.",
            "tier", "verdict",
        )  # fmt: skip
        self.cache = self._counter(
            "hansom_cache_lookups", "Cache lookups by result: exact, miss, off.", "result"
        )
        self.semantic = self._counter(
            "hansom_semantic_lookups",
            "Semantic look-ups by result: what served, or the reason why nothing did.",
            "result",
        )
        self.semantic_checks = self._counter(
            "hansom_semantic_check_lookups",
            "Served semantic hits that were generated again, by result: same, other, unclear.",
            "result",
        )
        self.semantic_verdicts = self._counter(
            "hansom_semantic_verdict_lookups",
            "Questions of cache.verify by result: yes, no, none (no answer), skipped (not asked).",
            "result",
        )
        self.flights = self._counter(
            "hansom_shared_requests",
            "Requests whose generation others could share, by kind: led, joined.",
            "kind",
        )
        self.tokens = self._counter(
            "hansom_tokens",
            "Tokens by tier and kind: fresh_input, cached_input, output.",
            "tier",
            "kind",
        )
        self.cost_usd = self._counter("hansom_cost_usd", "Cost in USD by tier.", "tier")
        self.baseline_usd = self._counter(
            "hansom_baseline_usd",
            "What the served answers would have cost on the dearest tier, USD, by the tier used.",
            "tier",
        )
        self.ttft_s = self._histogram(
            "hansom_ttft_seconds", "Arrival to first streamed event, seconds.", _SECONDS,
            "tier", "lane",
        )  # fmt: skip
        self.tpot_s = self._histogram(
            "hansom_tpot_seconds", "Time per output token after the first, seconds.",
            _TPOT_SECONDS, "tier",
        )  # fmt: skip
        self.total_s = self._histogram(
            "hansom_request_seconds", "Arrival to end of answer, seconds.", _SECONDS,
            "tier", "lane",
        )  # fmt: skip
        self.in_flight = self._gauge("hansom_requests_in_flight", "Requests open at the gateway.")
        self.tier_in_flight = self._gauge(
            "hansom_tier_requests_in_flight", "Requests open on a tier's replicas.", "tier"
        )
        self.tier_replicas = self._gauge(
            "hansom_tier_replicas", "Running replicas of a tier, as the gateway sees them.", "tier"
        )
        self.tier_held = self._gauge(
            "hansom_tier_held_requests", "Requests that wait for a tier to be woken.", "tier"
        )
        self.trace_spans = self._counter(
            "hansom_trace_spans",
            "Spans by outcome: sent, failed (the collector refused them), dropped (queue full).",
            "result",
        )
        self.refusals = self._counter(
            "hansom_refusals",
            "Requests refused for a limit: requests, tokens, usd, concurrency, or key for a 401.",
            "limit",
        )
        self.soft_limits = self._counter(
            "hansom_soft_limits", "Requests served beyond a soft budget: tokens, usd.", "limit"
        )
        self.unchecked = self._counter(
            "hansom_unchecked_requests", "Requests served while their limits could not be checked."
        )
        self.accounts_pending = self._gauge(
            "hansom_accounts_pending_steps", "Settlements of reservations not yet in Redis."
        )
        self.ledger_pending = self._gauge(
            "hansom_ledger_pending_lines", "Ledger lines not yet in Redis."
        )

    def text(self) -> str:
        """Everything in Prometheus text format."""
        return generate_latest(self.registry).decode()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return _remembering(Counter(name, text, labels, registry=self.registry))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return _remembering(Histogram(name, text, labels, buckets=buckets, registry=self.registry))


def _remembering(metric: Kind) -> Kind:
    """`metric`, whose `labels` looks a known set of labels up without the library's lock.

    The sets are few by the rule above, so remembering them all is safe.
    """
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]
    return metric
