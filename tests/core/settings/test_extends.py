"""`extends`: a settings file on top of another."""

from pathlib import Path

import pytest
import yaml

from core.errors import SettingsError
from core.settings.extends import extended, merged
from core.settings.load import load

TIER = {
    "name": "small", "model": "small-model", "engine": {"kind": "simulated"},
    "price": {"input_usd_per_million_tokens": 1, "output_usd_per_million_tokens": 1},
}  # fmt: skip  # one line a group of fields


def write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_mappings_merge_and_lists_are_replaced():
    base = {"server": {"host": "a", "port": 1}, "tiers": [1, 2], "log_level": "info"}
    top = {"server": {"port": 2}, "tiers": [3], "cache": {"exact": False}}
    assert merged(base, top) == {
        "server": {"host": "a", "port": 2},
        "tiers": [3],
        "log_level": "info",
        "cache": {"exact": False},
    }
    assert base["server"] == {"host": "a", "port": 1}


def test_the_base_is_looked_for_beside_the_file_and_may_extend_another(tmp_path):
    (tmp_path / "base").mkdir()
    write(tmp_path / "base" / "one.yaml", {"tiers": [TIER], "server": {"port": 1, "host": "h"}})
    write(tmp_path / "base" / "two.yaml", {"extends": "one.yaml", "server": {"port": 2}})
    path = write(tmp_path / "mine.yaml", {"extends": "base/two.yaml", "log_level": "debug"})
    settings = load(path)
    assert (settings.server.host, settings.server.port) == ("h", 2)
    assert settings.log_level == "debug"
    assert [tier.name for tier in settings.tiers] == ["small"]


def test_a_wrong_value_names_the_file_that_was_asked_for(tmp_path):
    write(tmp_path / "base.yaml", {"tiers": [TIER]})
    path = write(tmp_path / "mine.yaml", {"extends": "base.yaml", "server": {"port": -1}})
    with pytest.raises(SettingsError, match=r"mine\.yaml(.|\n)*server\.port"):
        load(path)


@pytest.mark.parametrize("base", [None, "", 3, ["a.yaml"]])
def test_what_names_no_file_is_refused(tmp_path, base):
    path = write(tmp_path / "mine.yaml", {"extends": base, "tiers": [TIER]})
    with pytest.raises(SettingsError, match="extends: must name a settings file"):
        extended(path, "tiers")


def test_a_base_that_is_missing_is_named(tmp_path):
    path = write(tmp_path / "mine.yaml", {"extends": "gone.yaml"})
    with pytest.raises(SettingsError, match=r"gone\.yaml"):
        extended(path, "tiers")


def test_a_circle_is_refused(tmp_path):
    write(tmp_path / "a.yaml", {"extends": "b.yaml", "tiers": [TIER]})
    path = write(tmp_path / "b.yaml", {"extends": "a.yaml"})
    with pytest.raises(SettingsError, match="extends this file itself"):
        extended(path, "tiers")
