"""One scrape from many replicas."""

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from core.metrics import Metrics
from deployments.gateway.scrape import merge


def samples(text: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def gateway(requests: int) -> str:
    metrics = Metrics()
    metrics.requests.labels("completions", "200").inc(requests)
    metrics.ttft_s.labels("small", "interactive").observe(0.2)
    return metrics.text()


def test_every_sample_says_its_app_and_replica() -> None:
    found = samples(merge({"gateway": [gateway(1), gateway(5)], "tier-small": ["x 1\n"]}))
    assert [
        (one.labels["app"], one.labels["replica"], one.value)
        for one in found["hansom_requests_total"]
    ] == [("gateway", "0", 1), ("gateway", "1", 5)]
    assert found["x"][0].labels == {"app": "tier-small", "replica": "0"}


def test_no_family_is_declared_twice() -> None:
    lines = merge({"gateway": [gateway(1), gateway(2)]}).splitlines()
    declared = [line for line in lines if line.startswith("# TYPE ")]
    assert len(declared) == len(set(declared))


def test_a_merged_text_keeps_what_each_replica_said() -> None:
    own = samples(gateway(3))
    merged = samples(merge({"gateway": [gateway(3)]}))
    assert set(own) == set(merged) - {"hansom_scrape_failures"}
    for name, found in own.items():
        assert [one.value for one in merged[name]] == [one.value for one in found]
        assert [
            {k: v for k, v in one.labels.items() if k not in ("app", "replica")}
            for one in merged[name]
        ] == [one.labels for one in found]


def test_deployments_that_did_not_answer_are_counted_and_cost_no_other_its_place() -> None:
    text = merge({"gateway": [gateway(1)], "router": None, "ledger": None, "tier-small": []})
    found = samples(text)
    assert found["hansom_scrape_failures"][0].value == 2
    assert found["hansom_requests_total"][0].value == 1


def test_nothing_at_all_is_still_a_scrape() -> None:
    assert samples(merge({}))["hansom_scrape_failures"][0].value == 0
