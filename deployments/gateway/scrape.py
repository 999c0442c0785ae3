"""Merge the metrics of every replica of every deployment into one scrape.

A `/metrics` route behind a load balancer reaches one random replica; this one asks them all. Each
sample gets `app` and `replica` labels. A replica that does not answer within the deadline is left
out, and `hansom_scrape_failures` says how many were.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from ray.serve.handle import DeploymentHandle

_TIMEOUT_S = 3.0
_FRESH_S = 1.0
Also = Callable[[], Awaitable[Iterable[Metric]]]


class Scraper:
    """Collects `metrics_text` from all replicas behind some handles; a result is kept for 1 s.

    `also` gives what is of the whole cluster and of no replica.
    """

    def __init__(self, handles: dict[str, DeploymentHandle], also: Also | None = None) -> None:
        self._handles = handles
        self._also = also
        self._text = ""
        self._made_s = float("-inf")
        self._lock = asyncio.Lock()

    async def text(self) -> str:
        """Prometheus text of everything."""
        async with self._lock:
            if time.monotonic() - self._made_s > _FRESH_S:
                self._text = await self._collect()
                self._made_s = time.monotonic()
            return self._text

    async def _collect(self) -> str:
        names = list(self._handles)
        found = await asyncio.gather(*(self._ask(name) for name in names))
        texts = dict(zip(names, found, strict=True))
        return merge(texts, await self._also() if self._also else ())

    async def _ask(self, name: str) -> list[str] | None:
        """Each replica's text, or None when the deployment did not answer in time."""
        try:
            answers = (
                await self._handles[name]
                .broadcast("metrics_text")
                .results_async(timeout_s=_TIMEOUT_S, return_exceptions=True)
            )
        except Exception:  # whatever Ray raises: a scrape never fails as a whole
            return None
        return [answer for answer in answers if isinstance(answer, str)]


def merge(texts: dict[str, list[str] | None], also: Iterable[Metric] = ()) -> str:
    """One text from many: families by name, each sample with its `app` and `replica`.

    Those in `also` stay as they are.
    """
    families: dict[str, Metric] = {}
    for app, replicas in texts.items():
        for index, text in enumerate(replicas or ()):
            _add(families, text_string_to_metric_families(text), app, index)
    failures = Gauge(
        "hansom_scrape_failures", "Deployments that did not answer the scrape.", registry=None
    )
    failures.set(sum(1 for replicas in texts.values() if replicas is None))
    registry = CollectorRegistry()
    registry.register(_Collected([*families.values(), *failures.collect(), *also]))
    return generate_latest(registry).decode()


def _add(families: dict[str, Metric], found: Iterable[Metric], app: str, replica: int) -> None:
    for family in found:
        kept = families.setdefault(
            family.name, Metric(family.name, family.documentation, family.type)
        )
        for sample in family.samples:
            labels = {**sample.labels, "app": app, "replica": str(replica)}
            kept.samples.append(sample._replace(labels=labels))


class _Collected:
    """A collector over families that are there already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The families, as they are."""
        return self._families
