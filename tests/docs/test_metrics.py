"""`docs/metrics.md` has every metric with its type and labels, and no other."""

import importlib.util
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from core.metrics import Metrics
from core.settings.load import SimulatedEngine
from deployments.gateway.outlook import families
from deployments.gateway.scrape import merge
from deployments.ledger.drain import Ledger
from deployments.router.router import Router
from deployments.tier import vllm_engine
from deployments.tier.simulated.engine import Simulated
from tests.deployments.rig import settings_of
from tests.docs import pages

PAGE = "docs/metrics.md"


def exposed(text: str) -> dict[str, str]:
    """Name and type of each family in a Prometheus text."""
    return {family.name: family.type for family in text_string_to_metric_families(text)}


def of_registry(registry: CollectorRegistry) -> dict[str, str]:
    return {family.name: family.type for family in registry.collect()}


@pytest.mark.filterwarnings("ignore:coroutine 'Ledger.__del__'")  # no Serve is there to await it
async def test_every_metric_is_told_with_its_type_and_none_that_is_gone():
    ledger = Ledger(settings_of(log_level="error"), "redis://127.0.0.1:1", "sqlite://")
    router = Router(None, "error")
    simulated = Simulated(SimulatedEngine(kind="simulated"), "any")
    in_code = {
        **of_registry(Metrics().registry),
        **exposed(await router.metrics_text()),
        **exposed(await ledger.metrics_text()),
        **exposed(simulated.metrics_text()),
        **exposed(merge({}, families({}))),
    }
    told = {name: cells[0] for name, cells in pages.rows(PAGE, "metric").items()}
    assert told == in_code


def test_labels_are_those_of_the_code():
    rows = pages.rows(PAGE, "metric")
    for metric in vars(Metrics()).values():
        if isinstance(metric, CollectorRegistry):
            continue
        (family,) = metric.describe()
        assert pages.words(rows[family.name][1]) == set(metric._labelnames), family.name


def test_every_metric_has_a_unit_and_a_meaning():
    assert [name for name, cells in pages.rows(PAGE, "metric").items() if not all(cells[2:])] == []


def test_the_engines_own_metrics_that_are_told_or_read_exist_in_the_pinned_vllm():
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    sources = (Path(spec.origin).parent / "v1" / "metrics").rglob("*.py")
    known = {name for file in sources for name in re.findall(r'"(vllm:\w+)"', file.read_text())}
    told = set(pages.rows(PAGE, "vLLM metric"))
    assert told - known == set()
    read = {re.sub("_(total|sum|count)$", "", one) for one in vllm_engine.READ}
    assert read <= told
