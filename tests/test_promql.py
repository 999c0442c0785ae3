"""The reader of PromQL takes what Prometheus takes, and finds what a dashboard can have wrong."""

import pytest

from tests.exported import series
from tests.promql import PromqlError, Series, check

pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'Ledger.__del__'")

KNOWN = {
    "hits_total": Series("counter", frozenset({"tier", "kind"}), {"kind": frozenset({"a", "b"})}),
    "cost_total": Series("counter", frozenset({"tier"})),
    "wait_bucket": Series("counter", frozenset({"tier", "le"})),
    "open": Series("gauge", frozenset({"tier", "replica"})),
}


@pytest.mark.parametrize(
    "text",
    [
        "open",
        'open{tier="small", replica!~"1|2"}',
        "sum by (tier) (rate(hits_total[5m]))",
        "sum(rate(hits_total[$__rate_interval])) by (kind)",
        "histogram_quantile(0.95, sum by (le, tier) (rate(wait_bucket[5m])))",
        "sum(rate(cost_total[1h])) * 3600 / clamp_min(sum(rate(hits_total[1h])), 1e-9)",
        "sum by (tier) (increase(cost_total[1d] offset 1h)) / on (tier) sum by (tier) (open)",
        "open / ignoring (replica) group_left sum by (tier) (open)",
        "max_over_time(sum(open)[1h:5m]) > 3 and sum(open) >= bool 1",
        "(sum(rate(hits_total[5m])) or vector(0)) / 2 ^ -1",
        "topk(3, sum without (kind) (rate(hits_total[5m])))",
        'label_replace(open, "who", "$1", "tier", "(.*)")',
        'rate(hits_total{kind=~"a|b", tier=~"$tier"}[5m])',
    ],
)
def test_what_can_mean_something_is_taken(text: str) -> None:
    assert check(text, KNOWN) <= set(KNOWN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gone_total", "nothing exports"),
        ("open{kind='a'}", "no label kind"),
        ('rate(hits_total{kind="c"}[5m])', "never has"),
        ('rate(hits_total{kind=~"a|c"}[5m])', "never has"),
        ("rate(open[5m])", "no counter"),
        ("rate(hits_total)", "one range"),
        ("hits_total[5m]", "a range is no answer"),
        ("sum by (app) (open)", "has not got"),
        ("histogram_quantile(0.9, sum by (tier) (rate(wait_bucket[5m])))", "needs the label le"),
        ("sum by (tier) (open) / sum(open)", "never match"),
        ("open / on (kind) open", "one side has not got"),
        ("sum(rate(hits_total[5m])", "ends too early"),
        ("sum(open) sum(open)", "was not expected"),
        ("summe(open)", "no function"),
        ("open +", "was not expected"),
        ("open{tier}", "no matcher"),
        ("open ! 3", "not PromQL"),
        ("open[5]", "no duration"),
    ],
)
def test_what_cannot_is_refused_with_a_reason(text: str, words: str) -> None:
    with pytest.raises(PromqlError, match=words):
        check(text, KNOWN)


def test_what_is_exported_has_its_labels() -> None:
    known = series()
    assert known["hansom_attempts_total"].labels >= {"tier", "kind", "outcome", "app", "replica"}
    assert known["hansom_ttft_seconds_bucket"].labels >= {"tier", "le"}
    assert known["vllm:num_requests_running"].labels >= {"model_name", "engine", "app"}
    assert known["vllm:num_preemptions_total"].type == "counter"
    assert "app" not in known["hansom_scrape_failures"].labels
