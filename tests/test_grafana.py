"""The shipped dashboards ask only for what is exported, and Grafana can load them."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.exported import series
from tests.promql import Series, check, labels, with_recorded

pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'Ledger.__del__'")
CONFIG = Path(__file__).parents[1] / "config"
BOARDS = sorted((CONFIG / "grafana" / "dashboards").glob("*.json"))
# Grafana puts these in before it asks.
BUILT_IN = {"__rate_interval", "__range", "__interval"}
# The ids of units that Grafana's own list has; a wrong one is shown as a suffix of the number.
UNITS = {"currencyUSD", "s", "reqps", "ops", "short", "percentunit", "none"}

each = pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.stem)


def load(file: Path) -> dict[str, Any]:
    board: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return board


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """All that show something."""
    return [one for one in board["panels"] if one["type"] != "row"]


def expressions(board: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], target


@pytest.fixture(scope="module")
def known() -> dict[str, Series]:
    rules = yaml.safe_load((CONFIG / "prometheus" / "rules.yaml").read_text(encoding="utf-8"))
    return with_recorded(rules, series())


def test_there_are_three() -> None:
    assert [file.stem for file in BOARDS] == ["cost", "health", "latency"]
    assert len({load(file)["uid"] for file in BOARDS}) == 3


@each
def test_every_expression_reads_what_is_exported_by_labels_that_it_has(
    file: Path, known: dict[str, Series]
) -> None:
    for _, target in expressions(load(file)):
        assert check(target["expr"], known)


@each
def test_every_legend_names_labels_that_its_answer_has(
    file: Path, known: dict[str, Series]
) -> None:
    for title, target in expressions(load(file)):
        wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert wanted <= labels(target["expr"], known), title
        assert wanted or not labels(target["expr"], known), f"{title}: lines without names"


@each
def test_every_variable_is_declared_and_asks_for_a_label_that_exists(
    file: Path, known: dict[str, Series]
) -> None:
    board = load(file)
    declared = {one["name"] for one in board["templating"]["list"]}
    used = {
        name
        for _, target in expressions(board)
        for name in re.findall(r"\$\{?(\w+)", target["expr"])
    }
    assert used - BUILT_IN <= declared
    for one in board["templating"]["list"]:
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", one["query"]["query"])
        assert asked is not None
        assert asked[2] in known[asked[1]].labels


@each
def test_ids_are_unique_and_nothing_lies_on_anything_else(file: Path) -> None:
    board = load(file)
    ids = Counter(one["id"] for one in board["panels"])
    assert [id_ for id_, count in ids.items() if count > 1] == []
    cells = Counter(
        (x, y)
        for one in board["panels"]
        for x in range(one["gridPos"]["x"], one["gridPos"]["x"] + one["gridPos"]["w"])
        for y in range(one["gridPos"]["y"], one["gridPos"]["y"] + one["gridPos"]["h"])
    )
    assert max(cells.values()) == 1
    assert max(x for x, _ in cells) < 24


@each
def test_every_panel_has_a_unit_words_and_the_provisioned_source(file: Path) -> None:
    board = load(file)
    (source,) = yaml.safe_load(
        (CONFIG / "grafana" / "provisioning" / "datasources" / "hansom.yaml").read_text()
    )["datasources"]
    for panel in panels(board):
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": source["type"], "uid": source["uid"]}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
    assert {"uid", "title", "schemaVersion", "panels", "time", "templating"} <= set(board)


def test_panels_say_what_they_are_asked_for() -> None:
    """The three pages answer what an operator asks, each under its own title."""
    titles = {panel["title"] for file in BOARDS for panel in panels(load(file))}
    assert titles >= {
        "Spend per hour by tier", "Cost of a success", "Savings per hour", "Decisions by reason",
        "Escalations", "Hit rate by kind", "Tokens by kind",
        "Time to first token, interactive calls", "Time per output token",
        "Time to the whole answer, interactive calls", "Queue",
        "Running", "KV cache in use", "Preemptions", "Replicas", "Open at the gateways",
        "Errors by status", "Refusals", "Retries and fallbacks", "Lines in memory",
        "Parts missing from the scrape", "Budget burn", "Alerts by rule",
    }  # fmt: skip


def test_every_metric_of_the_gateway_is_on_a_dashboard(known: dict[str, Series]) -> None:
    read = {
        name
        for file in BOARDS
        for _, target in expressions(load(file))
        for name in check(target["expr"], known)
    }
    bare = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in read}
    ours = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in series()}
    simulated = {name for name in ours if name.startswith("hansom_simulated_")}
    assert {name for name in ours if name.startswith("hansom_")} - bare - simulated == set()


def test_the_provider_loads_json_files() -> None:
    text = (CONFIG / "grafana" / "provisioning" / "dashboards" / "hansom.yaml").read_text()
    (provider,) = yaml.safe_load(text)["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
