"""`hansom cost` and `hansom ledger reprice`."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.main import app
from core.call import Usage
from core.errors import HansomError
from core.ledger_line import Kind
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.cli.commands import hansom as run
from tests.deployments.serving import simulated
from tests.ledger.lines import line

ROOT = Path(__file__).parents[2]
PRICES = str(ROOT / "config" / "prices.yaml")


def hansom(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def cost(*words: str) -> Result:
    return hansom("cost", "--prices", PRICES, *words)


def told(*words: str) -> dict[str, Any]:
    made = cost(*words, "--json")
    assert made.exception is None, made.exception
    return dict(json.loads(made.stdout))


def wrong(*words: str) -> str:
    ran = run("cost", *words)
    assert ran.code in (1, 2)
    first, *_ = ran.err.splitlines()
    return first.removeprefix("hansom: ")


@pytest.mark.parametrize(
    ("model", "usd_per_day"),
    [("gpt-4o", 3250), ("gpt-4o-mini", 195), ("claude-3.5-haiku", 375)],
)
def test_the_examples_of_a_million_requests_a_day(model: str, usd_per_day: int) -> None:
    sizes = ("--requests-per-day", "1000000", "--input-tokens", "500", "--output-tokens", "200")
    made = told("--model", model, *sizes)
    assert made["usd_per_day"] == usd_per_day
    assert made["usd_per_request"] == pytest.approx(usd_per_day / 1e6)
    assert made["usd_per_month"] == pytest.approx(usd_per_day * 30)


def test_without_arguments_every_model_is_set_side_by_side() -> None:
    by_model = {one["model"]: one for one in told()["models"]}
    assert [by_model[name]["usd_per_day"] for name in ("gpt-4o", "gpt-4o-mini")] == [3250, 195]
    assert {"usd_per_request", "usd_per_day", "usd_per_month", "source", "price_version"} <= set(
        by_model["llama-3-70b"]
    )
    shown = cost().stdout
    for words in ("gpt-4o", "3,250.00", "375.00", "mistral-7b", "seed table", "1,000,000"):
        assert words in shown


def test_every_input_has_a_source() -> None:
    made = told("--model", "llama-3-70b", "--input-tokens", "900", "--utilisation", "0.7")
    sources = {one["name"]: one["source"] for one in made["inputs"]}
    assert all(sources.values())
    assert sources["input tokens"] == sources["llama-3-70b: utilisation"] == "command line"
    assert sources["output tokens"].startswith("assumption")
    assert sources["llama-3-70b: decode tokens/s"].startswith("assumption, not measured")
    assert "gpt-4o: USD/1M output" in sources, "what it is set against is an input, too"
    assert all(one["source"] for one in made["levers"])


def test_self_hosting_is_charged_for_idle_hours_and_people() -> None:
    made = told("--model", "llama-3-70b", "--requests-per-day", "1000")
    (part,) = made["parts"]
    assert part["fleet"]["replicas"] == 1
    assert part["fleet"]["gpu_usd_per_day"] == 4 * 4 * 24
    assert part["fleet"]["idle_share"] > 0.99
    assert made["usd_per_day"] == pytest.approx(384 + 4000 / 30)


def test_people_and_utilisation_can_be_given() -> None:
    free = told("--model", "llama-3-70b", "--engineering", "0", "--utilisation", "1")
    (part,) = free["parts"]
    assert part["fleet"]["engineering_usd_per_day"] == 0
    assert part["fleet"]["replicas"] == 3  # 258,333 s of work in days of 86,400 s


def test_the_break_even_is_told_in_requests_with_hits_counted() -> None:
    plain = told("--model", "gpt-4o", "--against", "llama-3-70b")["break_even"]
    hits = told("--model", "gpt-4o", "--against", "llama-3-70b", "--hit-rate", "0.5")["break_even"]
    assert [one["self_hosted"] for one in plain] == ["llama-3-70b"]
    assert hits[0]["requests_per_day"] == pytest.approx(2 * plain[0]["requests_per_day"])
    assert hits[0]["tokens_per_day"] == plain[0]["tokens_per_day"]
    assert plain[0]["requests_per_day"] == pytest.approx((384 + 4000 / 30) / 0.00325)


def test_the_tables_show_cost_break_even_and_levers() -> None:
    shown = cost("--model", "gpt-4o-mini").stdout
    for words in ("195.00", "Break-even", "never", "What-if", "hit rate", "source", "30"):
        assert words in shown


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_levers_can_be_drawn(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tornado.{suffix}"
    assert cost("--model", "gpt-4o", "--plot", str(path)).exit_code == 0
    assert path.stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "gpt-5"), "No price for 'gpt-5'; the table has claude-3.5-haiku, claude-3.5-"),
        (
            ("--model", "gpt-4o", "--day", "2023-01-01"),
            "gpt-4o has no price on 2023-01-01: its fir",
        ),
        (("--requests-per-day", "-1"), "--requests-per-day: must be 0 or more (got -1)"),
        (("--requests-per-day", "0"), "--requests-per-day must be above 0 (got 0)."),
        (("--input-tokens", "-5"), "--input-tokens: must be 0 or more (got -5)"),
        (("--output-tokens", "nan"), "--output-tokens: must be a finite number (got nan)"),
        (("--hit-rate", "1.5"), "--hit-rate: must be 1 or less (got 1.5)"),
        (("--utilisation", "0"), "--utilisation must be above 0 (got 0)."),
        (("--min-replicas", "0"), "--min-replicas: must be 1 or more (got 0)"),
        (("--model", "gpt-4o", "--input-tokens", "0", "--output-tokens", "0"), "A request needs t"),
        (("--day", "soon"), "'soon' is no day or moment"),
        (("--hours", "3"), "--hours is for --from-ledger."),
        (("--plot", "x.svg"), "--plot and --against need --model or --from-ledger."),
        (("--model", "gpt-4o", "--against", "gpt-4o-mini"), "gpt-4o-mini is of the same kind as"),
        (("--model", "gpt-4o", "--against", "huge"), "No price for 'huge'"),
        (("--model", "gpt-4o", "--plot", "no-folder/x.svg"), "no such folder: no-folder"),
        (("--from-ledger", "--model", "gpt-4o"), "--from-ledger has its models and tokens from"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_a_mistake_is_one_clear_sentence(words: tuple[str, ...], message: str) -> None:
    assert wrong(*words)[: len(message)] == message


def test_a_missing_table_is_named() -> None:
    error = hansom("cost", "--prices", "nowhere.yaml").exception
    assert isinstance(error, HansomError)
    assert error.message == "no such file: nowhere.yaml"


def test_all_of_it_is_answered_by_caches_too() -> None:
    made = told("--model", "gpt-4o", "--hit-rate", "1")
    assert made["usd_per_day"] == 0
    assert made["break_even"] == []


# From the ledger.


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of two tenants: the small tier is self-hosted by the table, the large is not."""
    monkeypatch.setenv("HANSOM_HOME", str(tmp_path))
    content = simulated() | {"prices": PRICES}
    content["tiers"][0]["price"] = {"table": "mistral-7b"}
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def fill(folder: Path, settings: Path) -> float:
    small, large = (tier["model"] for tier in yaml.safe_load(settings.read_text())["tiers"])
    now_s, usage = time.time(), Usage(1000, 0, 100)
    SqlStore(sqlite_url(folder / "ledger.sqlite3")).insert(
        [
            line(1, model=small, usage=usage, created_s=now_s - 7200, tenant="a", queue_s=0.5),
            line(2, model=small, usage=usage, created_s=now_s - 60, tenant="b", queue_s=1.0),
            line(2, 1, model=large, tier="large", usage=usage, kind=Kind.ESCALATION,
                 created_s=now_s - 50),
            line(3, kind=Kind.CACHE_HIT, cache="exact", created_s=now_s - 40, cost_usd_micros=0),
        ]
    )  # fmt: skip
    return now_s


def test_the_load_can_come_from_the_ledger(config: Path, tmp_path: Path) -> None:
    fill(tmp_path, config)
    made = told("--from-ledger", "--config", str(config))
    values = {one["name"]: one for one in made["inputs"]}
    assert float(values["requests/day"]["value"]) == pytest.approx(36, rel=0.01)
    assert values["hit rate"]["value"] == "0.3333"
    assert values["further attempts per request"]["value"] == "0.5"
    assert values["requests/day"]["source"].startswith("ledger, the last 2 hours")
    assert sum(part["attempts_per_day"] for part in made["parts"]) == pytest.approx(36, rel=0.01)
    sources = {one["source"] for one in made["inputs"] if one["name"].endswith("USD/1M output")}
    assert any(source.startswith("settings, tier large") for source in sources)


def test_a_self_hosted_tier_is_billed_by_gpu_seconds(config: Path, tmp_path: Path) -> None:
    fill(tmp_path, config)
    made = told("--from-ledger", "--config", str(config), "--engineering", "0")
    split = made["tenant_shares_usd_micros"]["small"]
    assert split["a"] == pytest.approx(2 * split["b"], rel=1e-5)
    two_hours = 2 * 0.98 * 1e6
    assert sum(split.values()) == pytest.approx(two_hours, rel=1e-3)


def test_a_short_span_says_that_it_is(config: Path, tmp_path: Path) -> None:
    fill(tmp_path, config)
    made = told("--from-ledger", "--hours", "0.5", "--config", str(config))
    source = next(one["source"] for one in made["inputs"] if one["name"] == "requests/day")
    assert source == "ledger, the last 30 minutes, too short to speak for a day"


def test_an_empty_ledger_is_told(config: Path, tmp_path: Path) -> None:
    SqlStore(sqlite_url(tmp_path / "ledger.sqlite3"))
    assert wrong("--from-ledger", "--config", str(config)).startswith("The ledger has no attempts")


# Re-pricing.


def test_recorded_and_repriced_cost_stand_side_by_side(config: Path, tmp_path: Path) -> None:
    fill(tmp_path, config)
    made = hansom("ledger", "reprice", "--config", str(config), "--json")
    assert made.exception is None, made.exception
    told_ = json.loads(made.stdout)
    small = [row for row in told_["rows"] if row["price_versions"]]
    # 0.98 USD an hour at half use: 0.181481 USD/1M input and 1.088889 USD/1M output.
    assert sum(row["repriced_usd_micros"] for row in small) == 2 * 290
    assert told_["total"]["attempts"] == 3
    assert told_["total"]["unpriced"] == 1, "the large tier has a price of its own"
    assert told_["total"]["difference_usd_micros"] == 2 * 290 - 20


def test_in_a_terminal_it_says_what_has_no_price(config: Path, tmp_path: Path) -> None:
    fill(tmp_path, config)
    shown = hansom("ledger", "reprice", "--config", str(config)).stdout
    shown = " ".join(shown.split())
    assert "1 attempts (recorded: 0.000010 USD) have no price in the table" in shown
    assert "mistral-7b@2024-01-01." in shown


def test_a_span_without_attempts_is_told(config: Path, tmp_path: Path) -> None:
    fill(tmp_path, config)
    made = hansom("ledger", "reprice", "--config", str(config), "--until", "2020-01-01")
    assert isinstance(made.exception, HansomError)
    assert made.exception.message == "The ledger has no attempts in that time."


@pytest.mark.parametrize("words", [(), ("--model", "gpt-4o"), ("--model", "llama-3-70b")])
def test_tables_fit_80_columns_and_every_sum_has_its_unit(words: tuple[str, ...]) -> None:
    shown = run("cost", *words).out
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    sums = re.findall(r"(?:\d,\d{3}\.\d{2}|\d\.\d{6})\b(?: \w+)?", shown)
    assert sums and [one for one in sums if not one.endswith(" USD")] == []
