"""Packing: never more on a node than it has, no replica lost, and more replicas never cost less."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.capacity.nodes import (
    NodeFleet,
    NodeType,
    first_fleet,
    grow,
    lacks,
    needs,
    per_node,
    usd_per_hour,
)
from core.settings.load import Tier

HEAD = NodeType("head", {"CPU": 8, "control": 1}, head=True, usd_per_hour=Decimal("0.4"))
ONE = NodeType("one", {"CPU": 8, "GPU": 1, "small_gpu": 1}, 0, 9, usd_per_hour=Decimal(1))
FOUR = NodeType("four", {"CPU": 48, "GPU": 4, "large_gpu": 1}, 0, 9, usd_per_hour=Decimal(10))
EIGHT = NodeType("eight", {"CPU": 96, "GPU": 8, "large_gpu": 1}, 0, 9, usd_per_hour=Decimal(25))


def tier(name: str, gpus: int, cpus: float = 4, **resources: float) -> Tier:
    return Tier.model_validate(
        {
            "name": name,
            "model": f"{name}-model",
            "engine": {"kind": "simulated"},
            "accelerator": {"per_replica": gpus},
            "cpus_per_replica": cpus,
            "node_resources": resources,
            "price": {"input_usd_per_million_tokens": 1, "output_usd_per_million_tokens": 1},
        }
    )


def test_a_replica_needs_its_cpus_gpus_and_custom_resources_and_nothing_that_is_zero():
    assert needs(tier("large", 4, 16, large_gpu=0.001)) == {
        "CPU": 16, "GPU": 4, "large_gpu": 0.001
    }  # fmt: skip
    assert needs(tier("cpu", 0)) == {"CPU": 4}


def test_the_scarcest_resource_says_how_many_a_node_holds():
    assert per_node(EIGHT, needs(tier("large", 4, 16))) == 2
    assert per_node(EIGHT, needs(tier("large", 1, 50))) == 1
    assert per_node(FOUR, needs(tier("large", 8))) == 0
    assert per_node(ONE, needs(tier("small", 1, 4, large_gpu=0.001))) == 0


def test_ten_times_a_tenth_is_one():
    assert per_node(NodeType("n", {"CPU": 1}), {"CPU": 0.1}) == 10


def test_what_a_type_lacks_is_told_with_both_numbers():
    wanted = needs(tier("large", 4, 16, large_gpu=0.001))
    assert lacks(ONE, wanted) == {"CPU": (16, 8), "GPU": (4, 1), "large_gpu": (0.001, 0)}
    assert lacks(FOUR, wanted) == {}


def test_the_custom_resource_decides_where_a_replica_lands():
    small, large = tier("small", 1, 4, small_gpu=0.001), tier("large", 4, 16, large_gpu=0.001)
    fleet = grow(first_fleet([HEAD, FOUR, ONE]), [HEAD, FOUR, ONE], [(small, 3), (large, 2)])
    assert fleet.where("small") == {"one": 3}
    assert fleet.where("large") == {"four": 2}
    assert fleet.count("head") == 1


def test_without_one_the_smallest_node_that_is_filled_best_is_taken():
    types = [FOUR, ONE, HEAD]
    assert grow(first_fleet(types), types, [(tier("small", 1), 1)]).where("small") == {"one": 1}


def test_what_needs_no_gpu_stays_off_gpu_nodes_while_there_is_another():
    cpu = NodeType("cpu", {"CPU": 4}, 0, 9)
    types = [ONE, cpu]
    fleet = grow(first_fleet(types), types, [(tier("cpu", 0), 2)])
    assert fleet.where("cpu") == {"cpu": 2}


def test_two_replicas_share_a_node_that_holds_two_and_a_third_gets_another():
    large = tier("large", 4, 16)
    fleet = grow(first_fleet([EIGHT]), [EIGHT], [(large, 3)])
    assert [node.holds["large"] for node in fleet.nodes] == [2, 1]


def test_nodes_that_are_always_there_are_filled_first():
    types = [NodeType("one", ONE.resources, 2, 4)]
    assert grow(first_fleet(types), types, [(tier("small", 1), 1)]).count("one") == 2
    assert grow(first_fleet(types), types, [(tier("small", 1), 3)]).count("one") == 3


def test_what_fits_nowhere_is_told_and_not_placed():
    fleet = grow(NodeFleet(()), [ONE], [(tier("large", 4), 2)])
    assert fleet.homeless == {"large": 2} and fleet.nodes == ()


def test_a_missing_price_is_no_price_at_all():
    free = NodeType("free", ONE.resources, 1, 1)
    assert usd_per_hour(first_fleet([HEAD, ONE]), [HEAD, ONE]) == Decimal("0.4")
    assert usd_per_hour(first_fleet([HEAD, free]), [HEAD, free]) is None


amounts = st.integers(0, 40).map(lambda tenths: tenths / 10)
node_types = st.lists(
    st.builds(
        lambda cpus, gpus, custom, least, usd: (cpus, gpus, custom, least, usd),
        amounts, st.integers(0, 8), amounts, st.integers(0, 2), st.integers(0, 50),
    ),
    min_size=1, max_size=4,
).map(
    lambda rows: [
        NodeType(
            f"type-{place}", {"CPU": cpus, "GPU": float(gpus), "odd": custom}, least, 99,
            head=place == 0, usd_per_hour=Decimal(usd),
        )
        for place, (cpus, gpus, custom, least, usd) in enumerate(rows)
    ]
)  # fmt: skip
tiers = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 30).map(lambda tenths: tenths / 10), amounts),
    min_size=1,
    max_size=3,
).map(
    lambda rows: [
        tier(f"t{place}", gpus, cpus, odd=odd) for place, (gpus, cpus, odd) in enumerate(rows)
    ]
)
counts = st.lists(st.integers(0, 6), min_size=3, max_size=3)


@given(node_types, tiers, counts, counts)
@settings(max_examples=200, deadline=None)
def test_no_node_holds_more_than_it_has_and_no_replica_is_lost(types, asked, first, more):
    fleet = first_fleet(types)
    for numbers in (first, more):
        fleet = grow(fleet, types, list(zip(asked, numbers, strict=False)))
    known, wanted = {type.name: type for type in types}, {one.name: needs(one) for one in asked}
    for node in fleet.nodes:
        for resource in ("CPU", "GPU", "odd"):
            taken = sum(
                held * round(wanted[name].get(resource, 0) * 10_000)
                for name, held in node.holds.items()
            )
            assert taken <= round(known[node.type].resources[resource] * 10_000)
    for place, one in enumerate(asked):
        placed = sum(fleet.where(one.name).values())
        assert placed + fleet.homeless.get(one.name, 0) == first[place] + more[place]
        fits = any(per_node(type, needs(one)) for type in types if not type.head)
        assert not (fits and fleet.homeless.get(one.name, 0))


@given(node_types, tiers, counts, counts)
@settings(max_examples=200, deadline=None)
def test_a_fleet_that_grows_keeps_its_nodes_and_never_costs_less(types, asked, first, more):
    before = grow(first_fleet(types), types, list(zip(asked, first, strict=False)))
    after = grow(before, types, list(zip(asked, more, strict=False)))
    assert all(after.count(type.name) >= before.count(type.name) for type in types)
    cost_before, cost_after = usd_per_hour(before, types), usd_per_hour(after, types)
    assert cost_before is not None and cost_after is not None and cost_after >= cost_before


@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_head_is_there_once_whatever_is_asked(count):
    types = [HEAD, ONE]
    fleet = grow(first_fleet(types), types, [(tier("cpu", 0, 8), count)])
    assert fleet.count("head") == 1
