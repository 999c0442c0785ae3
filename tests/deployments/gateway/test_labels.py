"""Labels are bounded: whatever clients send, each label's values are those of a list."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.core import Metric

from core.metrics import Metrics
from tests.deployments.engines import Engine, answers, dies, refuses
from tests.deployments.gateway.lookup.test_semantic import near_of
from tests.deployments.gateway.lookup.test_single_flight import nobody
from tests.deployments.gateway.test_endpoint import BODY, CHAT, TEXT, app_of
from tests.deployments.rig import rig, settings_of
from tests.exported import VALUES, families
from tests.fakes import FakeNearby
from tests.ledger.lines import until

pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'Ledger.__del__'")
MARK = "zq"  # in everything that the client chooses
# What bounds the labels that have no list in the code: the operator's settings, or a number.
BY_SETTINGS = {"tier", "arm", "rule", "step", "le"}
HEADERS = {
    "x-request-id": f"{MARK}-id", "authorization": f"Bearer {MARK}-key",
    "x-hansom-domain": f"{MARK}-domain", "x-hansom-team": f"{MARK}-team",
    "x-hansom-tags": f"{MARK}-tag", "x-hansom-cache-tags": f"{MARK}-cache-tag",
    "x-hansom-prompt-version": f"{MARK}-version",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": f"{MARK}=1",
}  # fmt: skip


def bodies() -> Iterator[tuple[str, Any]]:
    """Good, refused and senseless requests, each with what only its client knows in it."""
    turns = [{"role": "user", "content": f"{MARK} says hello"}]
    yield CHAT, BODY | {"messages": turns, "user": f"{MARK}-user"}
    for stream in (False, True, False):
        yield CHAT, BODY | {"messages": turns, "temperature": 0, "stream": stream}
    yield CHAT, {"model": f"{MARK}-model", "messages": turns}
    yield CHAT, {"model": "large", "messages": turns, "metadata": {MARK: MARK}}
    yield CHAT, {MARK: MARK}
    yield TEXT, {"model": "small-model", "prompt": MARK}
    yield "/v1/embeddings", {"model": f"{MARK}-model", "input": MARK}
    yield "/v1/feedback", {"request_id": f"{MARK}-id", MARK: MARK}


def values(families_: list[Metric]) -> Iterator[tuple[str, str, str]]:
    for family in families_:
        for sample in family.samples:
            for label, value in sample.labels.items():
                yield family.name, label, value


async def mixed_traffic(folder: Path) -> Metrics:
    """Many kinds of request on one gateway; what its registry says then."""
    small, large = [Engine(dies), Engine(answers())], [Engine(refuses(503)), Engine(answers())]
    settings = settings_of()
    near = near_of(FakeNearby())
    async with rig(
        folder, small, large, settings=settings, flights=nobody(), near=near
    ) as path:  # fmt: skip
        app, _ = app_of(path, settings)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hansom") as http:
            for headers in ({}, HEADERS, HEADERS | {"x-hansom-risk": MARK}):
                for url, body in bodies():
                    await http.post(url, json=body, headers=headers)
                    await path.pipeline._semantic.settled()  # type: ignore[union-attr]
            await http.post(f"/{MARK}", headers=HEADERS)
        await until(lambda: not path.recorder.late.waiting)
        return path.recorder.metrics


async def test_no_label_has_what_a_client_sent_and_each_is_of_its_list(tmp_path: Path) -> None:
    metrics = await mixed_traffic(tmp_path)
    assert MARK not in metrics.text()
    tiers = {tier.name for tier in settings_of().tiers}
    seen = set(values(list(metrics.registry.collect())))
    for name, label, value in seen:
        if label == "tier":
            assert value in tiers, name
        elif label == "le":
            assert re.fullmatch(r"\+Inf|[\d.]+(e-?\d+)?", value), name
        else:
            assert value in VALUES[name][label], (name, label, value)
    # Else the traffic was not mixed.
    found = {(name, label): set[str]() for name, label, _ in seen}
    for name, label, value in seen:
        found[name, label].add(value)
    assert found["hansom_requests", "status"] >= {"200", "400", "404"}
    assert found["hansom_attempts", "kind"] >= {"answer", "retry", "cache_hit"}
    assert found["hansom_attempts", "outcome"] >= {"success", "error"}
    assert found["hansom_cache_lookups", "result"] >= {"exact", "miss", "off"}
    assert ("hansom_semantic_lookups", "result") in found


async def test_every_label_of_every_metric_is_bounded_by_a_list_or_by_the_settings() -> None:
    unknown = {
        (name, label)
        for name, (_, labels) in families().items()
        if name.startswith("hansom_")
        for label in labels - BY_SETTINGS
        if label not in VALUES.get(name, {})
    }
    assert unknown == set()
    told = {name: labels for name, (_, labels) in families().items()}
    stale = {(name, label) for name in VALUES for label in VALUES[name] if label not in told[name]}
    assert stale == set()
