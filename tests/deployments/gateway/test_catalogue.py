"""`/v1/models` lists what a client may ask for, with the context that the settings know."""

from pathlib import Path

from core.settings.load import load
from deployments.gateway.catalogue import context_tokens, models_of

CONFIG = Path(__file__).parents[3] / "config"
LAPTOP, FOUR = load(CONFIG / "laptop.yaml"), load(CONFIG / "four-tiers.yaml")


def test_every_name_that_is_accepted_is_listed_once():
    listed = models_of(LAPTOP, 1_700_000_000)
    names = {name for tier in LAPTOP.tiers for name in (tier.name, tier.model)}
    assert set(listed) == names | {"auto", "all-MiniLM-L6-v2"}
    assert {one["created"] for one in listed.values()} == {1_700_000_000}
    assert all(one["id"] == name for name, one in listed.items())


def test_auto_has_the_longest_context_of_the_tiers():
    listed = models_of(FOUR, 0)
    lengths = [context_tokens(tier) for tier in FOUR.tiers]
    assert None not in lengths
    assert listed["auto"]["max_model_len"] == max(one for one in lengths if one is not None)


def test_a_context_that_only_the_engine_knows_is_null():
    settings = LAPTOP.model_dump()
    settings["tiers"][0]["engine"]["args"].pop("max_model_len")
    changed = type(LAPTOP).model_validate(settings)
    listed = models_of(changed, 0)
    assert listed["small"]["max_model_len"] is None and listed["auto"]["max_model_len"] is None
    assert listed["large"]["max_model_len"] == 4096
