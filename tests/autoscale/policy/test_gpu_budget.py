"""Tiers that share GPUs: the budget holds at every moment, and nobody is kept from its floor."""

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given

from autoscale.policy.demand import ScalingCode
from autoscale.policy.gpu_budget import STALE_S, GpuAllotment, GpuBudget, TierPart
from autoscale.policy.signals import WantedReplicas

PAIR = GpuAllotment(4, {"small": TierPart(1, 1), "large": TierPart(2, 0)})


def wish(replicas: int) -> WantedReplicas:
    return WantedReplicas(replicas, "rate", "load")


class Tiers:
    """What Serve does: each tier's policy in turn, and the number that it said last."""

    def __init__(self, budget: GpuAllotment) -> None:
        self.budget = budget
        self.board = GpuBudget()
        self.now_s = 0.0
        self.has = {name: part.floor for name, part in budget.tiers.items()}
        self.all_stand()

    def all_stand(self) -> None:
        """The first round after a start: nobody decides before its memory is there."""
        for name, has in self.has.items():
            self.board.stands(name, has, self.now_s)

    def decides(self, name: str, replicas: int) -> WantedReplicas:
        self.now_s += 0.1
        self.board.stands(name, self.has[name], self.now_s)
        granted = self.board.grant(name, wish(replicas), self.budget, self.now_s)
        self.has[name] = granted.replicas
        return granted

    @property
    def gpus(self) -> int:
        return sum(self.has[name] * part.gpus for name, part in self.budget.tiers.items())


def budgets() -> st.SearchStrategy[GpuAllotment]:
    parts = st.lists(
        st.builds(TierPart, st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=4
    )

    def made(parts: list[TierPart], more: int) -> GpuAllotment:
        needed = sum(part.gpus * part.floor for part in parts)
        return GpuAllotment(needed + more, {f"t{n}": part for n, part in enumerate(parts)})

    return st.builds(made, parts, st.integers(0, 8))


@given(budgets(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), max_size=30),
       st.integers(0, 30))  # fmt: skip
def test_the_budget_holds_at_every_moment_and_floors_are_kept(
    budget: GpuAllotment, steps: list[tuple[int, int]], restart: int
) -> None:
    tiers, names = Tiers(budget), list(budget.tiers)
    for at, (number, more) in enumerate(steps):
        if at == restart:
            tiers.board = GpuBudget()
            tiers.all_stand()
        name = names[number % len(names)]
        floor = budget.tiers[name].floor
        granted = tiers.decides(name, floor + more)
        assert floor <= granted.replicas <= floor + more
        assert (granted.code == ScalingCode.BUDGET) == (granted.replicas < floor + more)
        assert tiers.gpus <= budget.gpus


@given(budgets(), st.lists(st.integers(0, 12), min_size=4, max_size=4))
def test_what_is_left_over_is_too_little_for_anybody(budget: GpuAllotment, more: list[int]) -> None:
    tiers = Tiers(budget)
    wanted = {name: part.floor + more[n] for n, (name, part) in enumerate(budget.tiers.items())}
    for _ in range(4):
        before = dict(tiers.has)
        for name, replicas in wanted.items():
            tiers.decides(name, replicas)
    assert tiers.has == before, "it comes to rest"
    left = budget.gpus - tiers.gpus
    for name, part in budget.tiers.items():
        if tiers.has[name] < wanted[name]:
            assert part.gpus > left


def test_the_reason_says_what_was_wanted_and_who_has_the_gpus() -> None:
    tiers = Tiers(PAIR)
    assert tiers.decides("small", 4) == wish(4)
    told = tiers.decides("large", 2)
    assert (told.replicas, told.code) == (0, ScalingCode.BUDGET)
    assert told.reason == "load; 2 wanted; other tiers have 4 of 4 GPUs"
    told = tiers.decides("small", 4)
    assert (told.replicas, told.code) == (2, ScalingCode.BUDGET)
    assert told.reason == "load; 4 wanted, and 4 GPUs are shared by value"


def test_a_tier_that_is_woken_gets_its_first_replica_from_one_with_more() -> None:
    tiers = Tiers(PAIR)
    tiers.decides("small", 4)
    found = [(tiers.decides("large", 1).replicas, tiers.decides("small", 4).replicas)
             for _ in range(3)]  # fmt: skip
    assert found == [(0, 2), (1, 2), (1, 2)]


def test_room_is_kept_for_the_floor_of_a_tier_that_is_not_there_yet() -> None:
    budget = GpuAllotment(4, {"small": TierPart(1, 1), "large": TierPart(2, 1)})
    board = GpuBudget()
    board.stands("small", 1, 0.0)
    assert board.grant("small", wish(4), budget, 0.0).replicas == 2


def test_a_tier_that_is_gone_gives_its_replicas_back_but_not_its_floor() -> None:
    board = GpuBudget()
    board.stands("large", 1, 0.0)
    board.stands("small", 1, 0.0)
    assert board.grant("small", wish(4), PAIR, 1.0).replicas == 2
    assert board.grant("small", wish(4), PAIR, STALE_S + 1.0).replicas == 4


def test_a_restarted_controller_takes_nothing_from_those_that_have_not_decided_yet() -> None:
    board = GpuBudget()
    board.stands("small", 2, 0.0)
    board.stands("large", 1, 0.0)
    assert board.grant("small", wish(4), PAIR, 0.1).replicas == 2


def test_without_gpus_a_tier_gets_what_it_wants() -> None:
    budget = GpuAllotment(1, {"cpu": TierPart(0, 1), "small": TierPart(1, 1)})
    board = GpuBudget()
    board.stands("cpu", 1, 0.0)
    assert board.grant("cpu", wish(9), budget, 0.0) == wish(9)


def test_a_budget_survives_json_and_nonsense_is_an_error() -> None:
    assert GpuAllotment.read(orjson.loads(orjson.dumps(PAIR.told()))) == PAIR
    for told in ({}, {"gpus": 1, "tiers": {"a": [1]}}, {"gpus": "x", "tiers": {}}):
        with pytest.raises((ValueError, KeyError, TypeError)):
            GpuAllotment.read(told)
