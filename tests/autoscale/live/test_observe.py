"""What replicas tell, as a view: differences, staleness, what is starting, and nothing raised."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autoscale.live.observe import FleetState, HeldCalls, LoadReport, asked_for, observe
from autoscale.policy.signals import MOST_REPLICAS

NOTHING = HeldCalls()


def seen(*at: tuple[float, int, dict[str, LoadReport]], held: HeldCalls = NOTHING) -> Any:
    """The last view, and what is remembered then."""
    fleet, view = FleetState(), None
    for now_s, target, reports in at:
        view, fleet = observe(now_s, target, reports, reports, held, fleet)
    return view, fleet


def test_a_report_survives_serves_numbers() -> None:
    report = LoadReport(5.0, 1, 2, 3, None, 4, 5.5, 6.5, None, 0.25, 1, 1, 7, 8, 9, 10, 11, 12, 13)
    assert LoadReport.of(report.as_stats()) == report
    assert all(isinstance(value, float) for value in report.as_stats().values())


def test_without_a_time_it_is_none() -> None:
    assert LoadReport.of({"running": 3.0}) is None


def test_traffic_is_what_was_counted_since_the_last_view() -> None:
    first, later = (
        LoadReport(1.0, arrived=100, input_tokens=9),
        LoadReport(2.0, arrived=103, input_tokens=50),
    )
    view, _ = seen((10.0, 1, {"a": first}), (11.0, 1, {"a": later}))
    assert (view.traffic.seconds, view.traffic.arrived) == (1.0, 3)
    assert view.traffic.input_tokens == 41


def test_what_was_counted_before_we_looked_is_not_traffic() -> None:
    view, _ = seen((10.0, 1, {"a": LoadReport(1.0, arrived=100)}))
    assert (view.traffic.seconds, view.traffic.arrived) == (0.0, 0)


def test_a_new_replicas_first_calls_are_traffic() -> None:
    a = LoadReport(1.0)
    view, _ = seen((10.0, 2, {"a": a}), (11.0, 2, {"a": a, "b": LoadReport(7.0, arrived=5)}))
    assert view.traffic.arrived == 5


def test_a_count_that_fell_is_no_traffic_and_no_debt() -> None:
    steps = [
        (float(at), 1, {"a": LoadReport(at, input_tokens=n)})
        for at, n in ((1, 50), (2, 20), (3, 30))
    ]
    assert seen(*steps[:2])[0].traffic.input_tokens == 0
    assert seen(*steps)[0].traffic.input_tokens == 10


def test_without_news_no_time_is_told_and_the_next_news_tell_it_all() -> None:
    same = {"a": LoadReport(1.0)}
    view, fleet = seen((10.0, 1, same), (11.0, 1, same))
    assert view.traffic.seconds == 0.0
    view, _ = observe(12.0, 1, ["a"], {"a": LoadReport(2.0)}, NOTHING, fleet)
    assert view.traffic.seconds == 2.0


def test_news_are_as_old_as_their_last_change_whatever_their_own_clock_says() -> None:
    view, _ = seen((10.0, 1, {"a": LoadReport(1e9)}), (13.0, 1, {"a": LoadReport(1e9)}))
    assert view.ready[0].at_s == 10.0


def test_a_replica_that_told_nothing_is_stale_and_there() -> None:
    view, _ = observe(10.0, 1, ["a"], {}, NOTHING, FleetState())
    assert (view.ready[0].id, view.ready[0].at_s, view.ready[0].kv_use_ratio) == ("a", 0.0, None)


def test_while_nobody_is_there_it_is_known_that_nobody_came() -> None:
    view, _ = seen((10.0, 0, {}), (11.0, 0, {}))
    assert (view.traffic.seconds, view.traffic.arrived) == (1.0, 0)


def test_held_calls_are_in_the_view() -> None:
    view, _ = seen((10.0, 0, {}), held=HeldCalls(3, 70))
    assert (view.traffic.held, view.traffic.held_tokens) == (3, 70)


def test_each_start_is_dated_by_the_wish_for_it_oldest_first() -> None:
    one = {"a": LoadReport(1.0)}
    _, fleet = seen((10.0, 1, one))
    fleet = asked_for(fleet, 3, 10.0)
    view, fleet = observe(12.0, 4, ["a"], {}, NOTHING, fleet)
    assert view.starting == (10.0, 10.0, 12.0)
    view, fleet = observe(15.0, 4, ["a", "b"], {}, NOTHING, fleet)
    assert (view.ready[1].started_s, view.starting) == (10.0, (10.0, 12.0))
    view, _ = observe(16.0, 3, ["a", "b"], {}, NOTHING, fleet)
    assert view.starting == (10.0,), "the last that was asked for goes back first"


def test_a_target_that_no_cluster_has_is_read_as_the_most_there_can_be() -> None:
    view, fleet = observe(10.0, 2**22, [], {}, NOTHING, FleetState())
    assert len(view.starting) == MOST_REPLICAS
    assert len(asked_for(fleet, 2**22, 11.0).asked) == MOST_REPLICAS


NUMBERS = st.one_of(st.floats(), st.integers(-(10**20), 10**20), st.none(), st.text(max_size=3))


@given(st.dictionaries(st.sampled_from(list(LoadReport(1.0).as_stats())), NUMBERS))
def test_whatever_a_replica_tells_nothing_is_raised(told: dict[str, Any]) -> None:
    report = LoadReport.of(told)
    reports = {"a": report} if report else {}
    view, _ = seen((1.0, 1, {}), (2.0, 1, reports))
    assert view.traffic.arrived >= 0
