"""What retires stored answers."""

import subprocess
import sys
from pathlib import Path

import yaml

from core.settings.load import Settings, load
from deployments.gateway.gateway import answer_version
from tests.deployments.serving import simulated


def settings(folder: Path, output_usd: str, later_usd: str = "9") -> Settings:
    versions = [
        {
            "from": day,
            "source": "test",
            "input_usd_per_million_tokens": "1",
            "output_usd_per_million_tokens": price,
        }
        for day, price in (("2024-01-01", output_usd), ("2999-01-01", later_usd))
    ]
    prices = folder / "prices.yaml"
    prices.write_text(yaml.safe_dump({"models": {"entry": {"kind": "api", "versions": versions}}}))
    content = simulated() | {"prices": str(prices)}
    content["tiers"][0]["price"] = {"table": "entry"}
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(content))
    return load(path)


def test_a_price_that_is_changed_in_the_table_retires_answers(tmp_path: Path) -> None:
    first = answer_version(settings(tmp_path, "2"), "r")
    assert answer_version(settings(tmp_path, "2.00"), "r") == first
    assert answer_version(settings(tmp_path, "3"), "r") != first
    assert answer_version(settings(tmp_path, "2", "10"), "r") != first


def test_a_gateway_starts_without_the_ledgers_database_library() -> None:
    """It loads a module for its names only where that is cheap: every start waits for it."""
    asked = "import sys, deployments.gateway.gateway; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
