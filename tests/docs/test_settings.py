"""`docs/settings.md` has every setting with its type and default, and no other."""

import yaml

from core.settings.extends import EXTENDS
from core.settings.load import Settings
from tests.docs import pages
from tests.docs.settings_fields import all_settings

PAGE = "docs/settings.md"


def test_every_setting_is_told_and_none_that_is_gone():
    assert set(pages.rows(PAGE, "setting")) == {setting.name for setting in all_settings()}


def test_types_and_defaults_are_those_of_the_code():
    told = {name: tuple(cells[:2]) for name, cells in pages.rows(PAGE, "setting").items()}
    assert told == {one.name: (one.type, one.default) for one in all_settings()}


def test_every_setting_has_a_meaning():
    assert [name for name, cells in pages.rows(PAGE, "setting").items() if not cells[2]] == []


def test_every_snippet_of_settings_is_valid():
    shipped = yaml.safe_load(pages.text("config/simulated.yaml"))
    snippets = pages.blocks("yaml")
    assert snippets
    for snippet in snippets:
        told = yaml.safe_load(snippet.text)
        if "docker" in told:
            continue  # lines of a cluster file, which tests/test_images.py has Ray read
        told.pop(EXTENDS, None)
        Settings.model_validate({**shipped, **told})
