"""The names of the sources: one meaning each, and no riddles as the first words of a text."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.packages import SOURCES

ROOT = Path(__file__).parents[1]
BANNED = re.compile(r"(Of|So many|As|One more|What \w+ (came|comes) to|Who|Whoever|Nobody)\b")


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for package in SOURCES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def test_a_public_class_name_stands_for_one_class():
    names = Counter(
        node.name
        for _, tree in trees()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name: count for name, count in names.items() if count > 1} == {}


def test_no_docstring_begins_with_a_riddle():
    found = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if BANNED.match(text):
                    found.append(f"{path}: {text.splitlines()[0]}")
    assert found == []


def test_every_package_is_in_the_wheel_the_image_and_the_type_check():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    image = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert folders == set(SOURCES)
    assert [one for one in SOURCES if f'"{one}*"' not in pyproject or f"!{one}" not in image] == []
