"""The documentation as data: pages, tables, code blocks, links and names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    + list((ROOT / "docs").rglob("*.md"))
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language and its text."""

    page: Path
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.text.strip().splitlines()[0][:40]}"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(*languages: str) -> list[Block]:
    """Every fenced block in one of these languages, from all pages."""
    return [
        Block(page, language, inner)
        for page in PAGES
        for language, inner in _FENCE.findall(page.read_text(encoding="utf-8"))
        if language in languages
    ]


def commands() -> Iterator[str]:
    """Each command line of the shell blocks, continued lines joined and comments left out."""
    for block in blocks("sh"):
        yield from lines(block)


def lines(block: Block) -> Iterator[str]:
    """The commands of one shell block."""
    for line in block.text.replace("\\\n", " ").splitlines():
        command = line.split(" # ")[0].strip()
        if command and not command.startswith("#"):
            yield command


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Link targets that lie in this repository, with their anchors."""
    found = _LINK.findall(prose(page))
    return [target for target in found if "://" not in target and not target.startswith("mailto:")]


def code_words(page: Path) -> list[str]:
    """What stands in backticks outside of fenced blocks."""
    return _CODE.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(name: str, first_column: str) -> dict[str, list[str]]:
    """All rows of the tables whose first column is titled so: its bare word, the other cells.

    A word that is told twice fails the test that asks.
    """
    found: dict[str, list[str]] = {}
    inside = False
    for line in text(name).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first_column:
            inside = True
        elif inside and not set(line) <= set("|-: "):
            word = bare(cells[0])
            assert word not in found, f"{name} tells {word} twice"
            found[word] = cells[1:]
    assert found, f"{name} has no table that begins with {first_column!r}"
    return found


def bare(cell: str) -> str:
    return cell.strip("`")


def words(cell: str) -> set[str]:
    """The backticked words of a cell."""
    return set(_CODE.findall(cell))
