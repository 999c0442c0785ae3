"""The packages of the sources, as pyproject.toml lists them for import-linter."""

import tomllib
from pathlib import Path

_TABLE = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES: list[str] = _TABLE["tool"]["importlinter"]["root_packages"]
