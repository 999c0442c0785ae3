"""Read settings files that build on another one: `extends: laptop.yaml`.

Promises: mappings are merged key by key, and anything else, lists included, is replaced as a whole;
a chain that comes back to a file of its own is refused.
Not covered: what the settings mean (`core.settings.load`).
"""

from pathlib import Path
from typing import Any

from core.errors import SettingsError
from core.settings.yaml_file import mapping

EXTENDS = "extends"


def extended(path: Path, key: str) -> dict[str, Any]:
    """Read a file on top of the one that it extends, which is named relative to its own folder.

    `key` is one that the whole must have. Raises `SettingsError` for a file that cannot be read,
    for an `extends` that names no file, and for a circle of files.
    """
    return _extended(path, key, ())


def _extended(path: Path, key: str, above: tuple[Path, ...]) -> dict[str, Any]:
    raw = mapping(path, key)
    if EXTENDS not in raw:
        return raw
    base = raw.pop(EXTENDS)
    if not isinstance(base, str) or not base:
        raise SettingsError(path, [f"{EXTENDS}: must name a settings file (got {base!r})"])
    seen = (*above, path.resolve())
    found = path.parent / base
    if found.resolve() in seen:
        raise SettingsError(path, [f"{EXTENDS}: {base} extends this file itself"])
    return merged(_extended(found, key, seen), raw)


def merged(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another; where both have a mapping under a key, these are merged too."""
    both = {
        name: merged(base[name], value)
        for name, value in top.items()
        if isinstance(value, dict) and isinstance(base.get(name), dict)
    }
    return {**base, **top, **both}
