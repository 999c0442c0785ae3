"""Prices by model and day: what is wrong in the table is named, and midnight changes the price."""

import pickle
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.call import Usage
from core.errors import SettingsError
from core.settings.load import Settings, load
from core.settings.prices import HostedVersion, NoPrice, PriceTable, load_prices

ROOT = Path(__file__).parents[3]
HOSTED: dict[str, Any] = {
    "from": "2024-01-01",
    "source": "test",
    "gpu_usd_per_hour": "3.60",
    "gpus": 2,
    "prefill_tokens_per_s": 1000,
    "decode_tokens_per_s": 100,
    "throughput_source": "test",
    "utilisation": "0.5",
}
GOOD: dict[str, Any] = {
    "models": {
        "big": {
            "kind": "api",
            "versions": [
                {
                    "from": date(2024, 1, 1),
                    "source": "a letter",
                    "input_usd_per_million_tokens": "2.50",
                    "output_usd_per_million_tokens": "10",
                },
                {
                    "from": date(2025, 6, 1),
                    "source": "another letter",
                    "input_usd_per_million_tokens": "2.00",
                    "cached_input_usd_per_million_tokens": "0.20",
                    "cache_write_usd_per_million_tokens": "2.40",
                    "output_usd_per_million_tokens": "8",
                },
            ],
        },
        "own": {"kind": "self_hosted", "versions": [HOSTED]},
    }
}


def at_s(day: date, seconds: float = 0.0) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + seconds


def table() -> PriceTable:
    return PriceTable.model_validate(GOOD)


def changed(field: str, value: object) -> dict[str, Any]:
    """The good table with one value changed; None takes it away."""
    content = deepcopy(GOOD)
    at: Any = content
    *folders, last = field.split(".")
    for name in folders:
        at = at[int(name)] if name.isdigit() else at[name]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return content


FIRST = "models.big.versions.0"
BAD = [
    ("models", {}, "models: must have 1 or more entries"),
    (
        "models.big.kind",
        "gift",
        "models.big: `kind` must be one of 'api', 'self_hosted', not 'gift",
    ),
    ("models.big.kind", None, "models.big: needs `kind`, one of 'api', 'self_hosted'"),
    ("models.big.versions", [], "models.big.versions: must have 1 or more entries"),
    (f"{FIRST}.from", None, f"{FIRST}.from: must be given"),
    (f"{FIRST}.from", 20240101, f"{FIRST}.from: must be a day such as 2024-01-31 (got 20240101)"),
    (f"{FIRST}.from", "soon", f"{FIRST}.from: must be a day"),
    (f"{FIRST}.source", "", f"{FIRST}.source: must have 1 or more characters"),
    (
        f"{FIRST}.input_usd_per_million_tokens",
        "-1",
        f"{FIRST}.input_usd_per_million_tokens: must be 0 or more",
    ),
    (
        f"{FIRST}.output_usd_per_million_tokens",
        "inf",
        f"{FIRST}.output_usd_per_million_tokens: must be a finite number",
    ),
    (f"{FIRST}.outptu", "1", f"{FIRST}.outptu: is not a known setting"),
    (
        f"{FIRST}.from",
        date(2025, 6, 1),
        "models.big.versions: versions must be listed by day, each day once: 2025-06-01 stands",
    ),
    (
        f"{FIRST}.from",
        date(2026, 1, 1),
        "models.big.versions: versions must be listed by day, each day once: 2025-06-01 stands "
        "after 2026-01-01",
    ),
    (
        "models.own.versions.0.utilisation",
        "1.01",
        "models.own.versions.0.utilisation: must be 1 or less",
    ),
    (
        "models.own.versions.0.utilisation",
        "0",
        "models.own.versions.0.utilisation: must be above 0",
    ),
    ("models.own.versions.0.gpus", 0, "models.own.versions.0.gpus: must be 1 or more"),
    (
        "models.own.versions.0.throughput_source",
        None,
        "models.own.versions.0.throughput_source: must be given",
    ),
]


@pytest.mark.parametrize(("field", "value", "told"), BAD, ids=lambda one: str(one)[:40])
def test_a_mistake_is_told_by_file_entry_and_field(
    tmp_path: Path, field: str, value: object, told: str
) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(yaml.safe_dump(changed(field, value)))
    with pytest.raises(SettingsError) as caught:
        load_prices(path)
    first, *problems = str(caught.value).splitlines()
    assert str(path) in first
    assert [problem.removeprefix("  - ")[: len(told)] for problem in problems] == [told]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^no such file: .*nowhere\.yaml$"):
        load_prices(tmp_path / "nowhere.yaml")


def test_a_version_begins_at_midnight_utc_and_ends_where_the_next_begins() -> None:
    midnight_s = at_s(date(2025, 6, 1))
    before, after = table().at("big", midnight_s - 0.001), table().at("big", midnight_s)
    assert before.output_usd_per_million_tokens == 10
    assert after.output_usd_per_million_tokens == 8
    assert before.version != after.version
    assert after.version.startswith("big@2025-06-01.")


def test_cached_input_and_cache_writes_cost_what_input_does_unless_they_are_priced() -> None:
    old = table().version_at("big", at_s(date(2024, 1, 1))).tokens
    new = table().version_at("big", at_s(date(2025, 6, 1))).tokens
    assert (old.cached_input, old.cache_write) == (Decimal("2.50"), Decimal("2.50"))
    assert (new.cached_input, new.cache_write) == (Decimal("0.20"), Decimal("2.40"))


def test_an_unknown_model_is_told_with_those_that_are_known() -> None:
    with pytest.raises(NoPrice, match="No price for 'huge'; the table has big, own"):
        table().at("huge", 0.0)


def test_a_day_before_the_first_version_is_told_with_that_version() -> None:
    with pytest.raises(NoPrice, match=r"big has no price on 2023-12-31: its first .* 2024-01-01"):
        table().at("big", at_s(date(2024, 1, 1), -1))


def test_a_corrected_price_has_another_version_and_the_same_price_written_otherwise_has_not() -> (
    None
):
    field = f"{FIRST}.input_usd_per_million_tokens"
    first = table().versions_of("big")
    same = PriceTable.model_validate(changed(field, "2.500")).versions_of("big")
    other = PriceTable.model_validate(changed(field, "2.51")).versions_of("big")
    assert same == first
    assert other[0] != first[0]
    assert other[1] == first[1]


def test_gpu_prices_become_token_prices_with_idle_time_in_them() -> None:
    # 2 GPUs at 3.60 USD an hour are 0.002 USD a second, and half of the seconds are idle.
    price = table().at("own", at_s(date(2024, 1, 1)))
    assert price.input_usd_per_million_tokens == Decimal("4")
    assert price.cached_input_usd_per_million_tokens == Decimal("0.4")
    assert price.output_usd_per_million_tokens == Decimal("40")


@given(
    st.decimals("0.01", 100, places=2),
    st.integers(1, 16),
    st.integers(1, 50_000),
    st.decimals("0.01", 1, places=2),
)
def test_an_hour_of_tokens_at_the_utilisation_costs_an_hour_of_gpus(
    gpu: Decimal, gpus: int, speed: int, utilisation: Decimal
) -> None:
    version = HostedVersion.model_validate(
        HOSTED
        | {
            "gpu_usd_per_hour": gpu,
            "gpus": gpus,
            "decode_tokens_per_s": speed,
            "utilisation": utilisation,
        }
    )
    made = 3600 * speed * Fraction(utilisation)
    charged = made * Fraction(version.tokens.output) / 1_000_000
    # Each price is rounded to 6 decimals of USD a million tokens.
    assert abs(charged - Fraction(gpu) * gpus) <= made / 1_000_000 * Fraction(1, 2_000_000)


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=8, unique=True), st.integers(0, 4100))
def test_the_price_is_that_of_the_last_version_that_has_begun(days: list[int], asked: int) -> None:
    begins = [date(2020, 1, 1) + timedelta(days=day) for day in sorted(days)]
    versions = [
        {
            "from": begin,
            "source": "s",
            "input_usd_per_million_tokens": place,
            "output_usd_per_million_tokens": 0,
        }
        for place, begin in enumerate(begins)
    ]
    made = PriceTable.model_validate({"models": {"m": {"kind": "api", "versions": versions}}})
    moment = date(2020, 1, 1) + timedelta(days=asked)
    begun = [place for place, begin in enumerate(begins) if begin <= moment]
    if begun:
        assert made.at("m", at_s(moment, 3600)).input_usd_per_million_tokens == begun[-1]
    else:
        with pytest.raises(NoPrice):
            made.at("m", at_s(moment, 3600))


@pytest.mark.parametrize(
    ("model", "usd_per_day"),
    [("gpt-4o", 3250), ("gpt-4o-mini", 195), ("claude-3.5-haiku", 375)],
)
def test_the_shipped_prices_make_the_examples_of_a_million_requests_a_day(
    model: str, usd_per_day: int
) -> None:
    """500 + 200 tokens each. The seed notes say $3.25M, $195K and $875 for these three."""
    price = load_prices(ROOT / "config" / "prices.yaml").at(model, at_s(date(2024, 12, 31)))
    one_million = Usage(500 * 1_000_000, 0, 200 * 1_000_000)
    assert price.cost_usd_micros(one_million) == usd_per_day * 1_000_000


# What a settings file makes of the table.


def settings_file(folder: Path, price: object, prices: object = "table") -> Path:
    (folder / "prices.yaml").write_text(yaml.safe_dump(GOOD))
    tier: dict[str, Any] = {"name": "small", "model": "big", "engine": {"kind": "simulated"}}
    if price is not None:
        tier["price"] = price
    content: dict[str, Any] = {"tiers": [tier]}
    if prices is not None:
        content["prices"] = str(folder / "prices.yaml") if prices == "table" else prices
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def output_price(settings: Settings, day: date) -> Decimal:
    return settings.price(settings.tiers[0], at_s(day)).output_usd_per_million_tokens


def test_a_tier_without_a_price_has_that_of_its_model_at_each_moment(tmp_path: Path) -> None:
    settings = load(settings_file(tmp_path, None))
    assert output_price(settings, date(2025, 5, 31)) == 10
    assert output_price(settings, date(2025, 6, 1)) == 8


def test_a_tier_may_name_another_entry(tmp_path: Path) -> None:
    settings = load(settings_file(tmp_path, {"table": "own"}))
    assert output_price(settings, date(2025, 6, 1)) == 40


def test_a_tier_with_its_own_price_keeps_it(tmp_path: Path) -> None:
    own = {"input_usd_per_million_tokens": 1, "output_usd_per_million_tokens": 2, "version": "v"}
    settings = load(settings_file(tmp_path, own))
    assert output_price(settings, date(2025, 6, 1)) == 2
    assert settings.price_versions(settings.tiers[0]) == ()


def test_settings_that_were_sent_to_another_process_still_know_the_prices(tmp_path: Path) -> None:
    settings = pickle.loads(pickle.dumps(load(settings_file(tmp_path, None))))
    assert output_price(settings, date(2025, 6, 1)) == 8
    assert len(settings.price_versions(settings.tiers[0])) == 2


@pytest.mark.parametrize(
    ("price", "prices", "told"),
    [
        (None, None, "these tiers have no price of their own: ['small']"),
        ({"table": "huge"}, "table", "tiers.0.price: {}/prices.yaml: No price for 'huge'; the tab"),
        ({"table": "big", "version": "v"}, "table", "tiers.0.price.version: is not a known set"),
        ({"version": "v"}, "table", "tiers.0.price.input_usd_per_million_tokens: must be given"),
        (None, "gone.yaml", "no such file: {}/gone.yaml"),
    ],
)
def test_settings_without_a_price_for_a_tier_stop_the_start(
    tmp_path: Path, price: object, prices: object, told: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(settings_file(tmp_path, price, prices))
    assert told.format(tmp_path) in str(caught.value)


def test_a_first_version_that_is_yet_to_begin_stops_the_start(tmp_path: Path) -> None:
    path = settings_file(tmp_path, None)
    late = changed(f"{FIRST}.from", date(2999, 1, 1))
    del late["models"]["big"]["versions"][1]
    (tmp_path / "prices.yaml").write_text(yaml.safe_dump(late))
    with pytest.raises(SettingsError, match="its first version is from 2999-01-01"):
        load(path)
