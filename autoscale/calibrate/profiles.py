"""Read and write the file of engine profiles.

Promises: whatever is wrong with the file is a `SettingsError` that names each field; a name that is
not there is a `HansomError` that says which are. `put` replaces one profile or adds it, leaves the
text of all others and their comments as they are, and writes the file whole or not at all.
"""

import re
from itertools import pairwise
from pathlib import Path

import yaml
from pydantic import model_validator

from autoscale.policy.profile import EngineProfile
from core.errors import HansomError
from core.files import text_file
from core.settings.base import Frozen
from core.settings.yaml_file import read


class Profiles(Frozen):
    """All profiles of a file; no two have the same name."""

    profiles: tuple[EngineProfile, ...]

    @model_validator(mode="after")
    def _distinct(self) -> "Profiles":
        names = [one.name for one in self.profiles]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two profiles are called {', '.join(sorted(twice))}")
        return self


def load(path: Path) -> tuple[EngineProfile, ...]:
    """Every profile of the file."""
    return read(path, Profiles, "profiles").profiles


def pick(path: Path, name: str) -> EngineProfile:
    """The profile of that name."""
    known = {one.name: one for one in load(path)}
    if name not in known:
        raise HansomError(f"{path} has no profile {name}; it has {', '.join(known)}")
    return known[name]


def put(path: Path, profile: EngineProfile) -> None:
    """Write `profile` in the place of the one with its name, or at the end."""
    text = text_file.read(path) if path.exists() else "profiles:\n"
    if path.exists():
        load(path)
    starts = [match.start() for match in re.finditer(r"^  - ", text, re.M)]
    blocks = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    head = text[: starts[0]] if starts else text.rstrip() + "\n\n"
    named = [index for index, block in enumerate(blocks) if _name(block) == profile.name]
    if named:
        blocks[named[0]] = _block(profile)
    else:
        blocks.append(_block(profile))
    made = head + "\n".join(block.rstrip() + "\n" for block in blocks)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(made, encoding="utf-8")
    load(fresh)
    fresh.replace(path)


def _name(block: str) -> object:
    return yaml.safe_load(block)[0].get("name")


def _block(profile: EngineProfile) -> str:
    told = profile.model_dump(mode="json")
    made = yaml.safe_dump(told, sort_keys=False, width=96, allow_unicode=True)
    lines = made.removesuffix("\n").split("\n")
    return "\n".join(("  - " if n == 0 else "    ") + line for n, line in enumerate(lines)) + "\n"
