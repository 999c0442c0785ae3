"""A budget as a hash of integers: it comes back as it was, and differences add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.error_budget.budget import Level, Record, State
from cache.error_budget.counts import Tally
from cache.error_budget.state import difference, fields, from_fields

_counts = st.integers(0, 5000)
_tallies = st.builds(Tally, _counts, _counts)
_records = st.builds(Record, _tallies, _tallies, _counts, _counts, _counts, _counts)
_states = st.builds(
    State,
    st.none() | st.sampled_from(Level),
    _counts,
    _tallies,
    st.fixed_dictionaries(dict.fromkeys(Level, _records)),
)


def raw(flat: dict[str, int]) -> dict[bytes, bytes]:
    return {name.encode(): b"%d" % value for name, value in flat.items()}


@given(_states)
def test_a_state_comes_back_from_its_fields(state: State) -> None:
    assert from_fields(raw(fields(state))) == state


@given(_states, _states)
def test_a_difference_added_to_one_state_gives_the_other(one: State, other: State) -> None:
    total = fields(one)
    for name, value in difference(one, other).items():
        total[name] = total.get(name, 0) + value
    assert from_fields(raw(total)) == other


def test_an_empty_hash_is_an_unknown_class_and_takes_no_room() -> None:
    assert from_fields({}) == State()
    assert fields(State()) == {}


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert from_fields({b"epoch": b"3", b"0.025:mood": b"1"}) == State(epoch=3)


@pytest.mark.parametrize("bad", [{b"epoch": b"x"}, {b"0.01:wrong": b"-1"}, {b"level": b"4"}])
def test_what_is_no_budget_is_refused(bad: dict[bytes, bytes]) -> None:
    with pytest.raises(ValueError):
        from_fields(bad)
