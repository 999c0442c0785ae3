"""The table of machines: what is wrong in it is told by its name."""

from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import SettingsError
from core.settings.machines import load_machines

ROOT = Path(__file__).parents[3]
ONE = """
machines:
  box:
    as_of: 2026-11-20
    source: a bill
    usd_per_hour: "1.5"
    cpus: 8
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "nodes.yaml"
    path.write_text(text)
    return path


def test_a_machine_has_a_price_with_a_day_and_a_source(tmp_path):
    machine = load_machines(written(tmp_path, ONE)).machines["box"]
    assert (machine.usd_per_hour, machine.source) == (Decimal("1.5"), "a bill")
    assert machine.gpus is None and machine.resources == {}


@pytest.mark.parametrize("field", ["as_of", "source", "usd_per_hour", "cpus"])
def test_a_machine_without_one_of_them_is_refused(tmp_path, field):
    lines = [line for line in ONE.splitlines() if field not in line]
    with pytest.raises(SettingsError, match=rf"machines\.box\.{field}"):
        load_machines(written(tmp_path, "\n".join(lines)))


def test_a_host_must_be_a_machine_of_the_table(tmp_path):
    assert load_machines(written(tmp_path, ONE + "hosts: {10.0.0.1: box}")).hosts
    with pytest.raises(SettingsError, match="crate"):
        load_machines(written(tmp_path, ONE + "hosts: {10.0.0.1: crate}"))


def test_the_shipped_table_prices_every_machine_it_names():
    table = load_machines(ROOT / "config" / "nodes.yaml")
    assert all(machine.usd_per_hour > 0 for machine in table.machines.values())
    assert set(table.hosts.values()) <= table.machines.keys()
