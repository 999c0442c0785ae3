"""The README: what it claims is measured on the page that it links, and what it shows is valid."""

import re

import yaml

from core.settings.load import Settings
from tests.docs import pages

FIGURE = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?= (?:ms|%))|(?<![\w.\d])0\.\d+(?= of)")


def claims() -> list[list[str]]:
    """The cells of the table of four measured lines."""
    table = pages.text("README.md").partition("| | measured | where it loses |")[2]
    rows = table.strip().split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]


def test_each_of_the_four_claims_says_where_it_loses_and_links_its_figures():
    found = claims()
    assert len(found) == 4
    for name, measured, loses in found:
        assert FIGURE.search(measured), name
        assert loses, name
        assert re.search(r"\]\([\w/.#-]+\)", measured + loses), name


def test_each_figure_of_the_claims_stands_on_a_page_that_they_link():
    for name, measured, loses in claims():
        linked = re.findall(r"\]\(([\w/.-]+)", measured + loses)
        there = " ".join(pages.text(page) for page in linked)
        for figure in FIGURE.findall(measured + loses):
            assert figure in there or figure.removesuffix(".0") in there, (name, figure)


def test_the_settings_for_own_models_have_some_twenty_lines_and_load():
    (block,) = [one for one in pages.blocks("yaml") if one.page.name == "README.md"]
    assert len(block.text.splitlines()) <= 22
    settings = Settings.model_validate(yaml.safe_load(block.text))
    assert [tier.name for tier in settings.tiers] == ["small", "large"]
