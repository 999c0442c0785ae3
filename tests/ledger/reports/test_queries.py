"""What a report says of a ledger, on both databases."""

from collections.abc import Sequence

import pytest

from core.call import Lane, Usage
from core.ledger_line import Kind, LedgerLine, Outcome
from ledger.path.sql_store import SqlStore
from ledger.reports import queries
from ledger.reports.report import summarise
from ledger.reports.rows import BY, Grouped, ReportRow
from ledger.reports.span import DAY_S, TimeSpan
from tests.ledger.lines import line

NOON_S = 20_000.5 * DAY_S  # 2024-10-04


def rows(store: SqlStore, by: str, span: TimeSpan | None = None) -> dict[str, ReportRow]:
    return {row.group: row for row in grouped(store, by, span).rows}


def grouped(store: SqlStore, by: str = "", span: TimeSpan | None = None) -> Grouped:
    return queries.report(store, span or TimeSpan(), by)[1]


def traffic() -> list[LedgerLine]:
    """A cascade, a retry that failed, a hit with its check, a joined flight, a cancelled one."""
    acme = {"tenant": "acme", "created_s": NOON_S, "tags": ("docs", "eu"), "team": "a"}
    zeta = {"tenant": "zeta", "created_s": NOON_S + DAY_S, "tags": ("eu",), "team": "z"}
    return [
        line(1, 0, cost_usd_micros=10, ttft_s=0.1, total_s=1.0, **acme),
        line(1, 1000, kind=Kind.CLASSIFIER, cost_usd_micros=1, **acme),
        line(1, 1, kind=Kind.ESCALATION, tier="large", model="big", cost_usd_micros=100,
             ttft_s=0.5, total_s=2.0, tpot_s=0.02, undelivered_tokens=4, **acme),
        line(2, 0, outcome=Outcome.ERROR, cost_usd_micros=5, **zeta),
        line(2, 1, kind=Kind.RETRY, outcome=Outcome.ERROR, cost_usd_micros=5, **zeta),
        line(3, 0, kind=Kind.CACHE_HIT, cache="semantic", cost_usd_micros=0, ttft_s=0.01,
             total_s=0.02, **acme),
        line(3, 1001, kind=Kind.SHADOW, cost_usd_micros=10, saved_usd_micros=-10, **acme),
        line(4, 0, kind=Kind.JOINED, cache="flight", cost_usd_micros=5, **zeta),
        line(5, 0, cost_usd_micros=10, ttft_s=0.2, total_s=0.6, tpot_s=0.01, **zeta),
        line(5, 2000, kind=Kind.CREDIT, usage=Usage(), cost_usd_micros=-5, saved_usd_micros=5,
             **zeta),
        line(6, 0, kind=Kind.CANCELLED, outcome=Outcome.CANCELLED, cost_usd_micros=3,
             **(zeta | {"tags": (), "team": ""})),
    ]  # fmt: skip


def test_a_row_counts_requests_and_the_cost_of_all_their_attempts(store: SqlStore) -> None:
    store.insert(traffic())
    found = rows(store, "tenant")
    acme = found["acme"]
    assert (acme.requests, acme.successes, acme.attempts) == (2, 2, 5)
    assert acme.cost_usd_micros == 10 + 1 + 100 + 0 + 10
    assert acme.cost_per_success_usd_micros == 121 / 2
    assert acme.usage == Usage(400, 80, 120), "a hit's tokens are not made again"
    assert acme.undelivered_tokens == 4
    assert (acme.semantic, acme.joined, acme.escalated, acme.retried) == (1, 0, 1, 0)
    zeta = found["zeta"]
    assert (zeta.requests, zeta.successes, zeta.joined, zeta.retried) == (4, 2, 1, 1)
    assert zeta.as_dict()["retry_share"] == 0.25
    assert zeta.cost_per_success_usd_micros == (5 + 5 + 5 + 10 - 5 + 3) / 2


def test_waits_are_those_of_the_line_that_answered(store: SqlStore) -> None:
    store.insert(traffic())
    acme = rows(store, "tenant")["acme"]
    assert (acme.ttft.p50_s, acme.ttft.p99_s) == (0.01, 0.5)
    assert (acme.total.p50_s, acme.total.p95_s) == (0.02, 2.0)
    assert (acme.tpot.p50_s, acme.tpot.p95_s) == (0.02, 0.02)
    assert rows(store, "cache")["miss"].ttft.p95_s == 0.5


def test_the_batch_lanes_waits_are_told_apart(store: SqlStore) -> None:
    store.insert([line(1, ttft_s=0.1), line(2, ttft_s=900.0, lane=Lane.BATCH)])
    found = rows(store, "lane")
    assert {lane: row.ttft.p95_s for lane, row in found.items()} == {
        "interactive": 0.1,
        "batch": 900.0,
    }


@pytest.mark.parametrize("by", [by for by in BY if by not in ("tag",)])
def test_groups_add_up_to_the_total(store: SqlStore, by: str) -> None:
    store.insert(traffic())
    found = grouped(store, by)
    for name in ("requests", "successes", "attempts", "cost_usd_micros", "semantic", "retried"):
        assert sum(getattr(row, name) for row in found.rows) == getattr(found.total, name), name
    assert sum(row.usage.output_tokens for row in found.rows) == found.total.usage.output_tokens
    assert found.total.requests == 6
    assert found.total.cost_usd_micros == sum(one.cost_usd_micros for one in traffic())


def test_a_request_with_two_tags_is_in_both_groups_and_once_in_the_total(store: SqlStore) -> None:
    store.insert(traffic())
    found = grouped(store, "tag")
    assert {row.group: row.requests for row in found.rows} == {"docs": 2, "eu": 5, "": 1}
    assert found.total.requests == 6
    assert any("counts it once" in note for note in found.notes)


def test_days_are_utc_and_in_order(store: SqlStore) -> None:
    store.insert(traffic())
    midnight_s = 20_002.0 * DAY_S
    store.insert([line(7, created_s=midnight_s), line(8, created_s=midnight_s - 0.001)])
    found = grouped(store, "day").rows
    assert [(row.group, row.requests) for row in found] == [
        ("2024-10-04", 2),
        ("2024-10-05", 5),
        ("2024-10-06", 1),
    ]


def test_by_kind_the_lines_are_told_and_no_cost_per_answer(store: SqlStore) -> None:
    store.insert(traffic())
    found = rows(store, "kind")
    assert set(found) == {one.kind for one in traffic()}
    shadow = found["shadow"]
    assert (shadow.requests, shadow.attempts, shadow.cost_usd_micros) == (0, 1, 10)
    assert found["answer"].attempts == 3
    assert found["answer"].requests == 1, "the others were answered by another line"
    assert found["retry"].requests == 1
    assert found["answer"].cost_per_success_usd_micros is None
    assert found["cache_hit"].usage == Usage()


def test_a_line_whose_request_is_older_than_the_span_has_its_cost_and_is_no_request(
    store: SqlStore,
) -> None:
    store.insert(
        [
            line(1, 0, created_s=10.0, cost_usd_micros=7),
            line(1, 1001, kind=Kind.SHADOW, created_s=20.0, cost_usd_micros=3),
        ]
    )
    total = grouped(store, "", TimeSpan(since_s=15.0)).total
    assert (total.requests, total.successes, total.cost_usd_micros) == (0, 0, 3)
    assert total.cost_per_success_usd_micros is None
    assert grouped(store, "", TimeSpan(until_s=15.0)).total.cost_usd_micros == 7


def test_a_report_can_be_of_one_tenant_one_tag_and_a_span(store: SqlStore) -> None:
    store.insert(traffic())
    assert grouped(store, "", TimeSpan(tenant="zeta")).total.requests == 4
    assert grouped(store, "", TimeSpan(tag="docs")).total.requests == 2
    assert grouped(store, "", TimeSpan(tag="doc")).total.requests == 0, "a tag is a whole word"
    assert grouped(store, "", TimeSpan(tag="Docs")).total.requests == 0
    assert grouped(store, "", TimeSpan(until_s=NOON_S + 1)).total.requests == 2


def test_savings_of_cache_and_routing_are_apart_and_add_up(store: SqlStore) -> None:
    """At 0.1 and 1 micro-USD for a token of any kind, no rounding."""
    small, large = {"price_version": "v1"}, {"price_version": "v1", "tier": "large"}

    def costing(tokens: int, per_token: float) -> dict[str, object]:
        cost = round(tokens * per_token)
        return {"usage": Usage(tokens, 0, 0), "cost_usd_micros": cost,
                "saved_usd_micros": tokens - cost}  # fmt: skip

    store.insert(
        [
            line(1, **small, **costing(1_000, 0.1)),
            line(2, **large, **costing(1_000, 1)),
            line(3, kind=Kind.CACHE_HIT, cache="exact", **small, **costing(2_000, 0)),
            line(4, kind=Kind.CACHE_HIT, cache="exact", **large, **costing(500, 0)),
            line(4, 1, kind=Kind.SHADOW, **large, **costing(500, 1) | {"saved_usd_micros": -500}),
        ]
    )
    saved = grouped(store).savings
    assert saved.cache_usd_micros == 200 + 500 - 500
    assert saved.routing_usd_micros == 900 + 1_800
    assert saved.unpriced == 0
    everything = sum(tail.line.saved_usd_micros for tail in store.tail(9))
    assert saved.cache_usd_micros + saved.routing_usd_micros == everything


def test_a_cache_that_costs_more_than_it_saves_has_negative_savings(store: SqlStore) -> None:
    store.insert(
        [
            line(1, usage=Usage(100, 0, 0), cost_usd_micros=10, saved_usd_micros=0),
            line(1, 1, kind=Kind.SHADOW, cost_usd_micros=30, saved_usd_micros=-30,
                 usage=Usage(300, 0, 0)),
        ]
    )  # fmt: skip
    assert grouped(store).savings.cache_usd_micros == -30


def test_hits_without_a_known_price_are_counted_and_told(store: SqlStore) -> None:
    store.insert([line(1, kind=Kind.CACHE_HIT, cache="exact", cost_usd_micros=0)])
    found = grouped(store)
    assert (found.savings.cache_usd_micros, found.savings.routing_usd_micros) == (0, 40)
    assert found.savings.unpriced == 1
    assert any("price of 1 answers" in note for note in found.notes)


def test_an_empty_ledger_has_one_row_of_nothing(store: SqlStore) -> None:
    found = grouped(store, "tag")
    assert (list(found.rows), found.total.requests, found.total.cost_usd_micros) == ([], 0, 0)
    assert found.total.as_dict()["hit_share"] is None


def test_figures_and_rows_are_of_one_state(store: SqlStore) -> None:
    store.insert(traffic())
    figures, found = queries.report(store, TimeSpan(), "tier")
    made = summarise(figures)
    assert (made.requests, made.attempts) == (found.total.requests, found.total.attempts)
    assert made.cost_usd_micros == found.total.cost_usd_micros
    assert made.usage == found.total.usage
    assert (
        made.saved_usd_micros == found.savings.cache_usd_micros + found.savings.routing_usd_micros
    )


def test_what_is_inserted_during_a_report_is_not_in_it(store: SqlStore) -> None:
    store.insert([line(1)])
    with queries.snapshot(store) as connection:
        requests = queries.gathered(connection, TimeSpan())
        store.insert([line(2)])
        found = queries.grouped(connection, TimeSpan(), requests, "kind", lambda _t, _v: None)
    assert (found.total.requests, found.rows[0].attempts) == (1, 1)


def test_many_lists_of_tags_are_taken_apart(store: SqlStore) -> None:
    store.insert([line(at, tags=("all", f"t{at}")) for at in range(2_500)])
    found = rows(store, "tag")
    assert len(found) == 2_501
    assert found["all"].requests == 2_500


def test_the_tail_of_one_tenant_goes_on_where_it_was(store: SqlStore) -> None:
    def ids(found: Sequence[queries.Tailed]) -> list[str]:
        return [tailed.line.call_id for tailed in found]

    store.insert([line(at, tenant="acme" if at % 2 else "zeta") for at in range(10)])
    last = queries.tail(store, 2, TimeSpan(tenant="acme"))
    assert ids(last) == ["c7", "c9"]
    store.insert([line("z", tenant="zeta"), line("a", tenant="acme")])
    assert ids(queries.tail(store, 9, TimeSpan(tenant="acme"), after=last[-1].seq)) == ["ca"]
