"""The error budget: strict until proven, strict again at once, off, and back by probes alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache.error_budget.budget import (
    FIRST,
    FLOOR_ALARMED,
    FLOOR_SURE,
    FLOOR_UNSURE,
    Change,
    ErrorBudget,
    Level,
    OutcomeSource,
    Record,
    State,
    decayed,
    level,
    outcome,
    sampling,
    seen,
    settle,
)
from cache.error_budget.counts import Tally

_BUDGET = ErrorBudget()
# (wrong or unclear, whether a caller told it) of one hit after another, and the limit.
_steps = st.lists(
    st.tuples(st.sampled_from([True, False, False, None]), st.booleans()), max_size=60
)
_runs = st.lists(st.tuples(st.integers(0, 400), _steps), max_size=5)
_limits = st.sampled_from([0.003, 0.01, 0.02, 0.03, 0.1])


def after(state: State, wrong: bool | None, source: OutcomeSource, budget: ErrorBudget) -> State:
    """With one outcome at the level of the state, settled."""
    return settle(
        seen(state, level(state, budget), outcome(level(state, budget), wrong, source)), budget
    )[0]


def right(state: State, times: int, budget: ErrorBudget = _BUDGET) -> State:
    for _ in range(times):
        state = after(state, False, OutcomeSource.CHECK, budget)
    return state


def states(
    runs: Sequence[tuple[int, Sequence[tuple[bool | None, bool]]]], budget: ErrorBudget
) -> list[State]:
    """Every state on the way through runs of right answers and mixed outcomes."""
    state, found = State(), []
    for times, steps in runs:
        state = right(state, times, budget)
        found.append(state)
        for wrong, told in steps:
            state = after(
                state, wrong, OutcomeSource.FEEDBACK if told else OutcomeSource.CHECK, budget
            )
            found.append(state)
    return found


@settings(deadline=None, max_examples=40)
@given(_runs, _limits)
def test_no_level_is_served_whose_evidence_is_above_the_limit(runs: list, limit: float) -> None:
    budget = ErrorBudget(limit)
    for state in states(runs, budget):
        now = level(state, budget)
        assert now is Level.OFF or not state.records[now].above(budget)


@settings(deadline=None, max_examples=40)
@given(_runs, _limits, st.sampled_from(OutcomeSource), st.sampled_from(Level))
@example(
    [(139, [(True, False)] * 6)], 0.1, OutcomeSource.CHECK, Level.LOOSE
)  # tightened by the recent
def test_one_more_wrong_outcome_never_loosens(
    runs: list, limit: float, source: OutcomeSource, at: Level
) -> None:
    budget = ErrorBudget(limit)
    for state in states(runs, budget)[-20:]:
        worse, _ = settle(seen(state, at, outcome(at, True, source)), budget)
        better, _ = settle(seen(state, at, outcome(at, False, source)), budget)
        assert level(worse, budget).strictness >= level(state, budget).strictness
        assert level(worse, budget).strictness >= level(better, budget).strictness


@settings(deadline=None, max_examples=40)
@given(_runs, _limits)
def test_feedback_never_loosens_and_praise_changes_nothing(runs: list, limit: float) -> None:
    budget = ErrorBudget(limit)
    for state in states(runs, budget)[-10:]:
        assert outcome(level(state, budget), False, OutcomeSource.FEEDBACK) == Record()
        told = after(state, True, OutcomeSource.FEEDBACK, budget)
        assert level(told, budget).strictness >= level(state, budget).strictness
        assert sampling(told, budget) >= sampling(state, budget)


@settings(deadline=None, max_examples=40)
@given(_runs, _limits)
def test_a_settled_state_stays_as_it_is_or_goes_one_step(runs: list, limit: float) -> None:
    budget = ErrorBudget(limit)
    for state in states(runs, budget)[-10:]:
        again, change = settle(state, budget)
        assert (again is state) == (change is None)
        assert 0 < sampling(state, budget) <= 1


def test_a_class_starts_at_the_level_made_for_its_limit() -> None:
    starts = {
        limit: level(State(), ErrorBudget(limit)) for limit in (0.001, 0.01, 0.02, 0.025, 0.1)
    }
    assert starts == {
        **dict.fromkeys((0.001, 0.01, 0.02), Level.STRICT),
        **dict.fromkeys((0.025, 0.1), Level.LOOSE),
    }


def test_it_loosens_when_299_checks_were_right_and_says_so() -> None:
    state = right(State(), 298)
    assert level(state, _BUDGET) is Level.STRICT
    one_more = seen(state, Level.STRICT, outcome(Level.STRICT, False, OutcomeSource.CHECK))
    state, change = settle(one_more, _BUDGET, "shop")
    assert level(state, _BUDGET) is Level.LOOSE
    told = "0 of 299 checked hits were wrong: below 1.00% with 95% confidence"
    assert change == Change("shop", Level.STRICT, Level.LOOSE, told)


def test_it_tightens_at_once_and_then_has_more_to_prove() -> None:
    loose = right(State(), 299)
    state = after(right(loose, 40), True, OutcomeSource.CHECK, _BUDGET)
    changes = []
    for _ in range(3):
        at = level(state, _BUDGET)
        state, change = settle(
            seen(state, at, outcome(at, True, OutcomeSource.CHECK)), _BUDGET, "shop"
        )
        changes += [change] if change else []
        if change:
            break
    assert [(one.before, one.after) for one in changes] == [(Level.LOOSE, Level.STRICT)]
    assert "checked hits were wrong: above 1.00%" in changes[0].reason
    assert state.past == Tally(40 + state.past.wrong, state.past.wrong)
    assert level(right(state, 299), _BUDGET) is Level.STRICT
    assert level(right(state, 1000), _BUDGET) is Level.LOOSE


@pytest.mark.parametrize(
    "record",
    [
        Record(Tally(3900, 3), Tally(70, 3)),  # of late only
        Record(Tally(1000, 10), Tally(150, 1)),  # in the long run only
    ],
)
def test_it_tightens_by_what_is_new_and_by_what_is_old(record: Record) -> None:
    state = State(Level.LOOSE).with_record(Level.LOOSE, record)
    assert settle(state, _BUDGET) == (state, None)
    assert level(after(state, False, OutcomeSource.CHECK, _BUDGET), _BUDGET) is Level.LOOSE
    assert level(after(state, True, OutcomeSource.CHECK, _BUDGET), _BUDGET) is Level.STRICT


def test_what_the_recent_outcomes_tightened_is_not_loosened_by_the_many_before_them() -> None:
    many = Record(Tally(3900, 3), Tally(70, 3))
    known = Record(Tally(2000))  # of the stricter level, from long ago
    state = State(Level.LOOSE).with_record(Level.LOOSE, many).with_record(Level.STRICT, known)
    state = after(state, True, OutcomeSource.CHECK, _BUDGET)
    assert (level(state, _BUDGET), state.past) == (Level.STRICT, Tally(71, 4))
    assert state.records[Level.STRICT] == Record()
    assert level(right(state, 800), _BUDGET) is Level.STRICT
    assert level(right(state, 900), _BUDGET) is Level.LOOSE


def test_an_older_failure_that_has_become_rare_does_not_hide_a_new_one() -> None:
    failing = State(Level.LOOSE, past=Tally(4000, 8)).with_record(
        Level.LOOSE, Record(Tally(9, 1), Tally(9, 1))
    )
    state = after(failing, True, OutcomeSource.CHECK, _BUDGET)
    assert (level(state, _BUDGET), state.past) == (Level.STRICT, Tally(10, 2))


def test_no_step_looser_is_taken_while_recent_outcomes_are_above_the_limit() -> None:
    earned = State(Level.STRICT).with_record(Level.STRICT, Record(Tally(900)))
    assert level(after(earned, False, OutcomeSource.CHECK, _BUDGET), _BUDGET) is Level.LOOSE
    for source in OutcomeSource:
        assert level(after(earned, True, source, _BUDGET), _BUDGET) is Level.STRICT


def test_off_serves_nothing_checks_all_and_comes_back_by_probes_alone() -> None:
    state = State()
    for _ in range(2):
        state = after(state, True, OutcomeSource.CHECK, _BUDGET)
    assert level(state, _BUDGET) is Level.OFF
    assert sampling(right(state, 100), _BUDGET) == 1.0
    assert level(right(state, 298), _BUDGET) is Level.OFF
    assert level(right(state, 299), _BUDGET) is Level.STRICT
    # What failed is not forgotten: with it, the class is not yet below the limit.
    assert level(right(state, 310), _BUDGET) is Level.STRICT
    complaint = seen(state, Level.OFF, outcome(Level.OFF, True, OutcomeSource.FEEDBACK))
    assert complaint == state


def test_complaints_are_weighed_against_all_that_was_served() -> None:
    at = Level.STRICT
    checked = outcome(at, False, OutcomeSource.CHECK, share=0.02)
    state = State()
    for _ in range(100):
        state = seen(state, at, checked)
    assert state.records[at].served == 5000
    few = state
    for _ in range(40):
        few, change = settle(seen(few, at, outcome(at, True, OutcomeSource.FEEDBACK)), _BUDGET)
        assert change is None
    many = few
    for _ in range(20):
        many = after(many, True, OutcomeSource.FEEDBACK, _BUDGET)
    assert level(many, _BUDGET) is Level.OFF
    assert many.past.wrong > 50


def test_sampling_falls_from_all_to_the_floor_and_rises_when_alarmed() -> None:
    assert sampling(State(), _BUDGET) == 1.0
    assert sampling(right(State(), FIRST - 1), _BUDGET) == 1.0
    assert sampling(right(State(), 40), _BUDGET) == 0.5
    assert sampling(right(State(), 250), _BUDGET) == FLOOR_UNSURE
    sure = right(State(), 299 + 1100)
    assert sampling(sure, _BUDGET) == FLOOR_SURE
    fresh = replace(sure.records[Level.LOOSE], recent=Tally(50))
    alarmed = after(sure.with_record(Level.LOOSE, fresh), True, OutcomeSource.CHECK, _BUDGET)
    assert sampling(alarmed, _BUDGET) == FLOOR_ALARMED


def test_checks_that_tell_nothing_cost_no_more_than_others() -> None:
    state = State()
    for _ in range(100):
        state = after(state, None, OutcomeSource.CHECK, _BUDGET)
    assert level(state, _BUDGET) is Level.STRICT
    assert sampling(state, _BUDGET) == 0.2


def test_full_windows_are_halved_and_the_past_fades_with_them() -> None:
    full = Record(Tally(4001, 5), Tally(201, 1), served=50_000, told=7, told_recent=1, unclear=9)
    state = State(Level.LOOSE, past=Tally(300, 9)).with_record(Level.LOOSE, full)
    half = decayed(state, _BUDGET)
    record = Record(Tally(2000, 3), Tally(100, 1), served=25_000, told=4, told_recent=0, unclear=4)
    assert (half.past, half.records[Level.LOOSE]) == (Tally(150, 5), record)
    assert decayed(half, _BUDGET) == half
    fades = replace(state, past=Tally(3, 2))
    assert decayed(fades, _BUDGET).past == Tally()


@given(
    st.permutations(
        [outcome(Level.STRICT, w, s) for w in (True, False, None) for s in OutcomeSource]
    )
)
def test_outcomes_of_several_gateways_add_up_in_any_order(added: list[Record]) -> None:
    state = State()
    for one in added:
        state = seen(state, Level.STRICT, one)
    record = Record(Tally(2, 1), Tally(2, 1), served=2, told=1, told_recent=1, unclear=1)
    assert state.records[Level.STRICT] == record


@pytest.mark.parametrize("limit", [0.0, -1.0, 0.5, float("nan")])
def test_an_odd_limit_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="limit"):
        ErrorBudget(limit)


def test_an_odd_share_is_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        outcome(Level.STRICT, True, OutcomeSource.CHECK, 0.0)


@dataclass(slots=True)
class Traffic:
    """Simulated hits, each wrong by the chance of the level that it is served at."""

    served: int = 0
    wrong: int = 0
    checks: int = 0
    state: State = field(default_factory=State)

    @property
    def level(self) -> Level:
        return level(self.state, _BUDGET)

    @property
    def excess(self) -> float:
        """Wrong hits served beyond the budget."""
        return self.wrong - _BUDGET.limit * self.served

    def run(self, chances: Mapping[Level, float], hits: int, random: Random) -> "Traffic":
        for _ in range(hits):
            at, share = self.level, sampling(self.state, _BUDGET)
            wrong = random.random() < chances[at]
            if at is not Level.OFF:
                self.served += 1
                self.wrong += wrong
            if random.random() < share:
                self.checks += 1
                added = outcome(at, wrong, OutcomeSource.CHECK, share)
                self.state, _ = settle(seen(self.state, at, added), _BUDGET)
        return self


def chances(loose: float, strict: float) -> dict[Level, float]:
    return {Level.LOOSE: loose, Level.STRICT: strict, Level.OFF: strict}


def traffics(loose: float, strict: float, hits: int, seeds: int = 16) -> list[Traffic]:
    return [Traffic().run(chances(loose, strict), hits, Random(seed)) for seed in range(seeds)]


def test_a_class_at_half_the_limit_ends_loose_most_times() -> None:
    found = traffics(0.005, 0.005, 12_000)
    assert sum(one.level is Level.LOOSE for one in found) >= 13
    assert max(one.wrong / one.served for one in found) <= _BUDGET.limit
    assert sum(one.checks for one in found) <= 0.25 * 12_000 * len(found)


def test_a_class_that_is_never_wrong_costs_few_checks() -> None:
    found = traffics(0.0, 0.0, 12_000, seeds=4)
    assert {one.level for one in found} == {Level.LOOSE}
    assert max(one.checks for one in found) <= 0.09 * 12_000


@pytest.mark.parametrize("chance", [0.02, 0.05, 0.2])
def test_a_class_above_the_limit_is_switched_off_at_a_bounded_cost(chance: float) -> None:
    found = traffics(chance, chance, 8_000)
    assert sum(one.level is Level.OFF for one in found) >= 15
    assert max(one.excess for one in found) <= 60
    assert sum(one.excess for one in found) / len(found) <= 20


def test_a_class_that_is_right_only_when_strict_ends_strict_within_the_budget() -> None:
    found = traffics(0.05, 0.002, 12_000)
    assert sum(one.level is Level.STRICT for one in found) >= 14
    assert max(one.wrong / one.served for one in found) <= _BUDGET.limit


def test_a_class_that_turns_bad_is_found_out_at_the_floor() -> None:
    for seed in range(8):
        random = Random(seed)
        good = Traffic().run(chances(0.001, 0.001), 12_000, random)
        bad = Traffic(state=good.state).run(chances(0.05, 0.05), 8_000, random)
        assert bad.level is Level.OFF
        assert bad.excess <= 100


def test_what_came_in_late_for_a_level_that_was_left_counts_before_it_is_entered_again() -> None:
    limit = ErrorBudget(0.1)
    good = State(level=Level.STRICT).with_record(Level.STRICT, Record(all=Tally(300)))
    loosened, change = settle(good, limit)
    assert change is not None and change.after is Level.LOOSE
    bad = good.with_record(Level.LOOSE, Record(all=Tally(40, 40)))
    kept, change = settle(bad, limit)
    assert change is None and level(kept, limit) is Level.STRICT
    few = good.with_record(Level.LOOSE, Record(all=Tally(4, 1)))
    loosened, change = settle(few, limit)
    assert change is not None and loosened.past == Tally(4, 1)
