"""The alerts' state machine: when one fires, when it ends, and when somebody is told."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ledger.alerts.states import AlertState, Phase, Rule, RuleReading, due, firing, step, told

FOR_S = {Rule.SPEND_RATE: 300.0}
CLEAR = 0.9


def reading(value: float, **changes: object) -> RuleReading:
    one = RuleReading(Rule.SPEND_RATE, "all", value, 10.0, counted=100, least=20, words=f"{value}")
    return replace(one, **changes)


def after(values: list[float | None], every_s: float = 60.0) -> list[AlertState]:
    """Where it stands after these readings, one each minute; None is a look without a reading."""
    standings: list[AlertState] = []
    for turn, value in enumerate(values):
        found = [] if value is None else [reading(value)]
        standings = step(standings, found, FOR_S, CLEAR, turn * every_s)
    return standings


def phases(values: list[float | None]) -> list[Phase]:
    return [standing.phase for standing in after(values)]


def test_it_fires_once_the_threshold_has_held_long_enough():
    assert phases([12] * 5) == [Phase.PENDING]
    (standing,) = after([12] * 6)
    assert standing.phase is Phase.FIRING
    assert standing.alert.since_s == 300.0
    assert (standing.alert.value, standing.alert.threshold) == (12, 10.0)


def test_one_look_below_the_threshold_begins_the_wait_anew():
    assert phases([12] * 5 + [9.9] + [12] * 5) == [Phase.PENDING]
    assert phases([12] * 5 + [9.9]) == []


def test_a_rule_that_need_not_hold_fires_at_once():
    assert firing(step([], [reading(10)], {}, CLEAR, 0.0))


def test_too_few_requests_never_fire():
    few = [reading(1e9, counted=3)]
    assert step([], few, {}, CLEAR, 0.0) == []


def test_between_clearing_and_threshold_a_firing_alert_stays():
    assert phases([12] * 6 + [9.1] * 20) == [Phase.FIRING]


def test_it_is_resolved_once_it_was_fine_for_as_long():
    assert phases([12] * 6 + [8.9] * 5) == [Phase.FIRING]
    assert phases([12] * 6 + [8.9] * 6) == [Phase.RESOLVED]
    assert phases([12] * 6 + [8.9] * 5 + [9.5] + [8.9] * 5) == [Phase.FIRING]


def test_no_traffic_is_fine():
    assert phases([12] * 6 + [None] * 6) == [Phase.RESOLVED]


def test_a_firing_alert_is_told_once_and_again_after_the_repeat():
    standings = after([12] * 6)
    notices = due(standings, 3600.0, 300.0)
    assert [notice.alert.subject for notice in notices] == ["all"]
    standings = told(standings, notices, 300.0)
    assert due(standings, 3600.0, 3899.0) == []
    assert due(standings, 3600.0, 3900.0) == standings


def test_what_nobody_took_stays_due_even_when_it_ended():
    standings = after([12] * 6 + [1] * 30)
    assert [one.phase for one in due(standings, 3600.0, 9e9)] == [Phase.RESOLVED]
    assert told(standings, standings, 9e9) == []


def test_an_end_that_nobody_heard_of_is_undone_when_it_begins_again():
    standings = told(fired := after([12] * 6), fired, 300.0)
    for turn in range(6):
        standings = step(standings, [reading(1)], FOR_S, CLEAR, 400.0 + 60 * turn)
    assert standings[0].phase is Phase.RESOLVED
    (standing,) = step(standings, [reading(12)], FOR_S, CLEAR, 800.0)
    assert (standing.phase, standing.alert.since_s) == (Phase.FIRING, 300.0)
    assert due([standing], 3600.0, 800.0) == []


def test_telling_one_says_nothing_of_another():
    both = step([], [reading(12), reading(12, subject="acme")], {}, CLEAR, 0.0)
    assert [(one.alert.subject, one.told_s) for one in told(both, both[:1], 5.0)] == [
        ("acme", 5.0),
        ("all", None),
    ]


values = st.lists(st.one_of(st.none(), st.floats(0, 30)), max_size=40)


@given(values, st.lists(st.floats(0, 30), min_size=40, max_size=40))
def test_more_never_unfires(series: list[float | None], more: list[float]) -> None:
    """Raising any readings of a history leaves every alert that fires firing."""
    raised = [None if one is None else one + add for one, add in zip(series, more, strict=False)]
    fires = bool(firing(after(series)))
    assert bool(firing(after(raised))) >= fires


@given(st.lists(st.floats(CLEAR * 10, 30), max_size=60))
def test_within_the_hysteresis_a_firing_alert_never_ends(series: list[float]) -> None:
    assert phases([12] * 6 + list(series)) == [Phase.FIRING]


@given(st.lists(st.floats(0, 9.99), max_size=60))
def test_below_the_threshold_nothing_ever_stands(series: list[float]) -> None:
    assert after(list(series)) == []


@given(values)
def test_the_same_readings_give_the_same_alerts_in_any_order(series: list[float | None]) -> None:
    assert after(series) == after(series)
    found = [reading(1 if one is None else one, subject=str(at)) for at, one in enumerate(series)]
    assert step([], found, {}, CLEAR, 0.0) == step([], found[::-1], {}, CLEAR, 0.0)


@given(values)
def test_messages_alternate_between_firing_and_resolved(series: list[float | None]) -> None:
    """Told at every look, nobody hears twice of the same beginning or of the same end."""
    heard: list[Phase] = []
    standings: list[AlertState] = []
    for turn, value in enumerate(series):
        now_s = turn * 60.0
        found = [] if value is None else [reading(value)]
        standings = step(standings, found, FOR_S, CLEAR, now_s)
        notices = due(standings, 1e9, now_s)
        heard += [notice.phase for notice in notices]
        standings = told(standings, notices, now_s)
    assert heard == [Phase.FIRING, Phase.RESOLVED] * (len(heard) // 2) + heard[-1:] * (
        len(heard) % 2
    )
    assert heard[:1] in ([], [Phase.FIRING])
