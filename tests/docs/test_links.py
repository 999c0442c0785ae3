"""Every file, name and anchor that the documentation points to is there."""

import ast
import json
import re
from pathlib import Path

import pytest

from tests import packages
from tests.docs import pages

_IN_FILE = re.compile(r"([\w/.-]+\.py)::([\w.]+)")
_FILE = re.compile(r"(?:[\w.-]+/)*[\w-]+\.(?:py|md|yaml|toml|txt|json)")
# Made on the user's own machine.
NOT_OURS = {"config.json", "config/my-gpu.yaml", "pairs.json"}

by_page = pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)


def defined(file: Path) -> set[str]:
    """Names of the functions, classes and methods of a source, methods as `Class.method`."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (part for part in node.body if hasattr(part, "name"))
            found |= {f"{node.name}.{part.name}" for part in inner}
    return found


@by_page
def test_every_link_resolves(page: Path):
    for link in pages.links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in pages.anchors(target), link


@by_page
def test_every_file_that_is_named_exists(page: Path):
    named = {word for word in pages.code_words(page) if _FILE.fullmatch(word)} - NOT_OURS
    assert [name for name in sorted(named) if not (pages.ROOT / name).exists()] == []


@by_page
def test_every_name_in_a_file_is_defined_there(page: Path):
    for word in pages.code_words(page):
        if found := _IN_FILE.fullmatch(word):
            assert found[2] in defined(pages.ROOT / found[1]), word


def test_every_page_that_the_sources_name_exists():
    files = [
        file
        for folder in (*packages.SOURCES, "config", "tests")
        for file in (pages.ROOT / folder).rglob("*")
        if file.suffix in (".py", ".yaml")
    ]
    named = {
        page
        for file in files
        for page in re.findall(r"docs/[\w/-]+\.md", file.read_text(encoding="utf-8"))
    }
    assert [page for page in sorted(named) if not (pages.ROOT / page).exists()] == []


def test_every_page_of_docs_is_linked_from_the_readme_or_from_another_page():
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in pages.PAGES
        for link in pages.links(page)
    }
    lost = [page for page in (pages.ROOT / "docs").glob("*.md") if page not in linked]
    assert [page.name for page in lost] == []


@pytest.mark.parametrize("block", pages.blocks("python", "json"), ids=lambda block: block.name)
def test_every_python_and_json_snippet_is_well_formed(block: pages.Block):
    if block.language == "json":
        json.loads(block.text)
    else:
        compile(block.text, block.name, "exec")
