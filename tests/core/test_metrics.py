"""The metrics: declared once, with a unit or a plural in the name, and bounded labels."""

from prometheus_client.parser import text_string_to_metric_families

from core.metrics import Metrics

UNITS = ("_seconds", "_usd", "_tokens", "_lines", "_ratio", "_bytes")
COUNTED = (
    "_requests", "_attempts", "_routes", "_lookups", "_in_flight", "_replicas", "_decisions",
    "_escalations", "_refusals", "_limits", "_steps", "_spans",
)  # fmt: skip
BOUNDED = {"endpoint", "status", "tier", "kind", "outcome", "code", "result", "verdict"}
# Arms are named in the settings, and agreement is yes or no.
BOUNDED |= {"arm", "agrees", "lane"}
# What a limit measures, not whose it is.
BOUNDED |= {"limit"}


def test_every_name_says_its_unit_or_what_is_counted() -> None:
    for family in Metrics().registry.collect():
        assert family.name.startswith("hansom_")
        assert family.name.endswith(UNITS + COUNTED), family.name
        if family.name.endswith("_seconds"):
            assert "seconds" in family.documentation


def test_no_label_can_hold_what_a_client_sends() -> None:
    metrics = Metrics()
    for declared in vars(metrics).values():
        assert set(getattr(declared, "_labelnames", ())) <= BOUNDED


def test_each_replica_counts_for_itself() -> None:
    one, other = Metrics(), Metrics()
    one.requests.labels("completions", "200").inc()
    assert 'status="200"' in one.text()
    assert 'status="200"' not in other.text()


def test_the_text_is_prometheus_and_has_no_created_series() -> None:
    metrics = Metrics()
    metrics.attempts.labels("small", "answer", "success").inc()
    metrics.ttft_s.labels("small", "interactive").observe(0.2)
    names = [
        sample.name
        for family in text_string_to_metric_families(metrics.text())
        for sample in family.samples
    ]
    assert "hansom_attempts_total" in names
    assert "hansom_ttft_seconds_sum" in names
    assert not [name for name in names if name.endswith("_created")]
