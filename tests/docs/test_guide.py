"""The guide has a page for each question, true to the settings and metrics there are."""

import re
from pathlib import Path

import pytest

from tests.docs import pages

FOLDER = pages.ROOT / "docs" / "guide"
CHAPTERS = sorted(FOLDER.glob("[0-9]*.md"))
PARTS = ("Pressure", "Lever", "Setting", "Where the pressure moves", "Signal", "Command")
SECTIONS = ("tiers[].", "router.", "cache.", "ledger.", "accounts.", "alerts.", "limits.")
by_chapter = pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)


def test_there_is_a_page_for_each_chapter_and_the_index_has_them_in_order():
    assert [page.name[:2] for page in CHAPTERS] == [f"{n:02}" for n in range(1, 14)]
    assert pages.links(FOLDER / "README.md") == [page.name for page in CHAPTERS]


@by_chapter
def test_a_chapter_has_every_part_once_and_fits_half_a_page(page: Path):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^\*\*([^*]+)\.\*\*", text, re.M) == list(PARTS)
    assert len(text.splitlines()) <= 40


@by_chapter
def test_every_setting_metric_and_header_of_a_chapter_exists(page: Path):
    settings = pages.rows("docs/settings.md", "setting")
    metrics = pages.rows("docs/metrics.md", "metric")
    headers = {
        **pages.rows("docs/api.md", "response header"),
        **pages.rows("docs/api.md", "request header"),
    }
    for word in pages.code_words(page):
        if word.startswith(SECTIONS):
            assert word in settings, word
        elif word.startswith("hansom_"):
            assert word in metrics, word
        elif word.startswith("x-hansom-"):
            assert word.partition(":")[0] in headers, word


def test_the_glossary_has_at_most_forty_words_in_order():
    words = list(pages.rows("docs/glossary.md", "word"))
    assert 20 <= len(words) <= 40
    assert words == sorted(words, key=str.lower)


def test_the_life_of_a_request_opens_with_eight_sentences():
    opening = pages.text("docs/path.md").partition("```")[0]
    assert re.findall(r"^(\d)\. ", opening, re.M) == list("12345678")
