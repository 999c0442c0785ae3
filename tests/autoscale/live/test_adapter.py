"""The policy as Serve calls it: it decides, keeps its memory, and never raises or waits."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.live.adapter import Adapter, read_rules, told_rules
from autoscale.live.observe import HeldCalls, LoadReport
from autoscale.live.record_store import held_key, held_note, record_key
from autoscale.policy.gpu_budget import GpuAllotment, GpuBudget, TierPart
from autoscale.policy.rules import ScalingRules
from core.settings.scaling import KnownPeak, Scaling
from tests.autoscale.live.context import PROFILE, Context
from tests.fakes import FakeShelf

RULES = ScalingRules(0, 8, Scaling(idle_s=5.0, hold_s=1.0, burst_hold_s=1.0, down_period_s=0.1))
BUSY = LoadReport(1.0, running=10, waiting=200, waiting_tokens=60_000, kv_use_ratio=0.9)


def adapter(shelf: FakeShelf | None = None, rules: Any = None, profile: Any = None) -> Adapter:
    rules = told_rules(RULES) if rules is None else rules
    profile = PROFILE.model_dump(mode="json") if profile is None else profile
    return Adapter("small", rules, profile, shelf or FakeShelf())


def soon(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def started(one: Adapter) -> Adapter:
    """Once its thread has read back."""
    one._started = True
    one._keeper.start()
    soon(lambda: one._keeper.loaded)
    return one


def test_a_queue_has_it_ask_for_more() -> None:
    one = started(adapter())
    wanted, state = one(Context(1000.0, 1, {"a": BUSY}))
    assert wanted > 1
    assert state == {}


def test_until_its_memory_is_read_back_the_number_stays() -> None:
    reads = threading.Event()

    class Slow(FakeShelf):
        def get(self, key: str) -> bytes | None:
            reads.wait(5)
            return super().get(key)

    try:
        assert adapter(Slow())(Context(1000.0, 3, {"a": BUSY}))[0] == 3
    finally:
        reads.set()


def test_between_two_decisions_the_last_is_given_again() -> None:
    one = started(adapter())
    wanted, _ = one(Context(1000.0, 1, {"a": BUSY}))
    assert one(Context(1000.1, 1, {}))[0] == wanted


def test_held_calls_wake_it_at_once() -> None:
    shelf = FakeShelf()
    one = started(adapter(shelf))
    assert one(Context(1000.0, 0))[0] == 0
    shelf.put(held_key("small", "g"), held_note(HeldCalls(2, 10), 1))
    soon(lambda: one._keeper.held.calls)
    assert one(Context(1000.01, 0))[0] == 1


def test_a_note_that_is_not_renewed_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoscale.live.record_store.HELD_STALE_S", 0.2)
    shelf = FakeShelf()
    one = started(adapter(shelf))
    shelf.put(held_key("small", "g"), held_note(HeldCalls(2, 10), 1))
    soon(lambda: one._keeper.held.calls)
    soon(lambda: not one._keeper.held.calls)
    soon(lambda: not shelf.keys(held_key("small")))


def test_the_next_policy_has_the_memory_and_the_changes_of_the_last() -> None:
    shelf = FakeShelf()
    first = started(adapter(shelf))
    first(Context(1000.0, 1, {"a": BUSY}))
    soon(lambda: shelf.get(record_key("small")))
    record = orjson.loads(shelf.values[record_key("small")])
    assert record["changes"][0]["before"] == 1
    second = started(adapter(shelf))
    second(Context(1000.3, 1, {"a": BUSY}))
    assert second._memory.now_s == 1000.3
    assert second._memory.busy_s >= 1000.0
    assert "a" in second._fleet.known
    assert sum(second._codes.values()) == sum(record["decisions"].values()) + 1
    assert list(second._changes) == record["changes"]


@pytest.mark.parametrize("found", [b"not json", b"[]", b'{"memory": 3, "fleet": 4, "changes": 5}'])
def test_a_record_that_is_broken_is_none(found: bytes) -> None:
    shelf = FakeShelf()
    shelf.values[record_key("small")] = found
    one = started(adapter(shelf))
    assert one(Context(1000.0, 1, {"a": BUSY}))[0] > 1
    assert one._errors == 0


def test_without_the_shelf_it_decides_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoscale.live.adapter.READ_BACK_S", 0.05)
    shelf = FakeShelf()
    shelf.failure = OSError("away")
    one = adapter(shelf)
    one(Context())
    time.sleep(0.1)
    assert one(Context(1000.0, 1, {"a": BUSY}))[0] > 1


@pytest.mark.parametrize(
    ("rules", "profile"),
    [
        (None, {"name": "broken"}),
        ({}, None),
        ({"min_replicas": 5, "max_replicas": 1, "scaling": {}}, None),
        ("nonsense", 3),
    ],
)
def test_what_it_cannot_decide_with_leaves_the_number_and_is_told(rules: Any, profile: Any) -> None:
    shelf = FakeShelf()
    one = adapter(shelf, rules, profile)
    assert one(Context(1000.0, 4, {"a": BUSY}))[0] == 4
    soon(lambda: shelf.get(record_key("small")))
    record = orjson.loads(shelf.values[record_key("small")])
    assert record["errors"] == 1
    assert record["error"]


def test_two_policies_share_the_gpus_and_the_record_says_so() -> None:
    shelf, board = FakeShelf(), GpuBudget()
    budget = GpuAllotment(3, {"small": TierPart(1, 0), "large": TierPart(1, 0)}).told()
    both = {
        name: started(Adapter(name, told_rules(RULES), PROFILE.model_dump(mode="json"), shelf,
                              budget, board))
        for name in ("small", "large")
    }  # fmt: skip
    has = dict.fromkeys(both, 1)
    for name in both:  # as while the records are read back
        board.stands(name, 1, time.monotonic())
    for tick in range(12):
        for name, one in both.items():
            news = replace(BUSY, at_s=1.0 + tick)
            has[name], _ = one(Context(1000.0 + tick, has[name], {name: news}))
            assert sum(has.values()) <= 3
    assert sorted(has.values()) == [1, 2]
    (small,) = [name for name, replicas in has.items() if replicas == 1]
    soon(lambda: "wanted" in orjson.loads(shelf.get(record_key(small)) or b"{}"))
    record = orjson.loads(shelf.values[record_key(small)])
    assert record["wanted"]["code"] == "budget"
    assert "3 GPUs" in record["wanted"]["reason"]
    assert record["decisions"]["budget"] > 0
    assert record["errors"] == 0


@pytest.mark.parametrize("budget", [{}, {"gpus": 1, "tiers": {}}, "nonsense"])
def test_a_budget_that_cannot_be_read_or_lacks_the_tier_leaves_the_number(budget: Any) -> None:
    one = Adapter("small", told_rules(RULES), PROFILE.model_dump(mode="json"), FakeShelf(),
                  budget, GpuBudget())  # fmt: skip
    one._read_back = one._started = True
    assert one(Context(1000.0, 4, {"a": BUSY}))[0] == 4
    assert one._errors == 1


def test_rules_survive_json() -> None:
    peak = KnownPeak(days=("mon",), start="08:00", until="09:00", replicas=2)
    rules = ScalingRules(0, 3, Scaling(known_peaks=(peak,)))
    assert read_rules(orjson.loads(orjson.dumps(told_rules(rules)))) == rules


def test_its_thread_ends_with_it() -> None:
    before = set(threading.enumerate())
    one = started(adapter())
    one(Context(1000.0, 1, {"a": BUSY}))
    (thread,) = set(threading.enumerate()) - before
    del one
    soon(lambda: not thread.is_alive())


ODD = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers()))
REPORTS = st.dictionaries(
    st.sampled_from("abc"),
    st.builds(
        LoadReport, st.floats(), st.integers(), st.integers(), st.integers(),
        st.one_of(st.none(), st.floats()), arrived=st.integers(), input_tokens=st.integers(),
    ),
)  # fmt: skip


class Raises:
    """A context of which nothing can be read."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(Context, ODD, ODD, REPORTS),
            st.builds(Context, st.floats(0, 1e12), st.integers(0, 20), REPORTS),
            st.just(Raises()),
            ODD,
        ),
        max_size=6,
    )
)
def test_no_context_makes_it_raise(ticks: list[Any]) -> None:
    one = adapter()
    one._read_back = one._started = True  # without a thread for each example
    for tick in ticks:
        wanted, state = one(tick)
        assert isinstance(wanted, int)
        assert wanted >= 0
        assert state == {}
