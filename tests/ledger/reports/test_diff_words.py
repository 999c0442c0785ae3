"""A diff's sentence names the causes by size; its JSON has all of them."""

import json
from dataclasses import replace

from ledger.reports.diff import EXTRA, FIRST, Factor, compare
from ledger.reports.diff_words import as_dict, levels, sentence
from tests.ledger.reports.test_diff import cell, side


def test_the_sentence_names_the_largest_causes_with_their_share() -> None:
    told = sentence(compare(side(), side(per_line=(400, 100, 300), failures=6)))
    assert told.startswith("Cost per answer rose 5")
    assert told.index("output tokens per attempt +") < told.index("requests without an answer +")
    assert "% of it)" in told
    assert "price" not in told, "what did not change is no cause"


def test_a_fall_is_called_one() -> None:
    assert "Cost per answer fell" in sentence(compare(side(), side(hits=60)))


def test_no_change_is_said_and_effects_that_cancel_out_are_named() -> None:
    assert "did not change" in sentence(compare(side(), side()))
    one = replace(side(), cells={(FIRST, "small"): cell(80, (100, 0, 200), (1, 1, 1))})
    other = replace(side(), cells={(FIRST, "small"): cell(80, (200, 0, 100), (1, 1, 1))})
    told = sentence(compare(one, other))
    assert "did not change" in told
    assert "input tokens per attempt +" in told
    assert "output tokens per attempt -" in told


def test_a_cost_from_nothing_has_no_percentage() -> None:
    free = replace(side(), cells={(FIRST, "small"): cell(80, (100, 0, 200), (0, 0, 0))})
    assert "rose from nothing" in sentence(compare(free, side()))


def test_levels_are_what_the_side_has() -> None:
    told = levels(side())
    assert told[Factor.MIX] == "25% large, 75% small"
    assert told[Factor.PRICE] == "large 30 / 10 / 90; small 3 / 1 / 9"
    assert told[Factor.CACHE] == "20.0% of requests"
    assert told[Factor.ATTEMPTS] == "0.100 per worked request"
    assert EXTRA not in told[Factor.MIX]


def test_as_json_the_effects_add_up() -> None:
    found = json.loads(json.dumps(as_dict(compare(side(), side(rates=(4, 1, 9), extra=20)))))
    effects = found["effects_usd_micros"]
    assert set(effects) == {factor.value for factor in Factor}
    assert abs(sum(effects.values()) - found["change_usd_micros"]) < 1e-9
    assert found["before"]["requests"] == 100
