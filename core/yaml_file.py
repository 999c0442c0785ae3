"""A YAML file read into a frozen model, with every wrong field named as the file spells it.

Promised: `read` returns a checked model or raises a `SettingsError` that names the file, each
field, what was given and what is allowed.
Not covered: what the fields mean (`core.settings`, `core.prices`).
"""

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.errors import SettingsError
from core.frozen import Frozen

Model = TypeVar("Model", bound=Frozen)

_KINDS = {
    "engine": "'vllm', 'simulated'",
    "source": "'path', 'hub', 'wheels'",
    "models": "'api', 'self_hosted'",
}


def read(path: Path, kind: type[Model], key: str) -> Model:
    """The file as a `kind`, whose one required key is `key`; raises `SettingsError`."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(path, [f"cannot be read: {why}"]) from error
    except yaml.YAMLError as error:
        raise SettingsError(path, [f"is not YAML: {error}"]) from error
    if not isinstance(raw, dict):
        raise SettingsError(path, [f"must be a mapping with the key `{key}`"])
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(path, _problems(error, raw)) from error


def _problems(error: ValidationError, raw: object) -> list[str]:
    """Each wrong field as `field: what is allowed (got ...)`; a union's members on one line."""
    found: dict[str, tuple[list[str], str]] = {}
    for item in error.errors():
        given = item["input"]
        if item["type"] == "too_short" and len(given) > item["ctx"]["actual_length"]:
            continue  # pydantic counts good items only, and the bad ones are told by themselves
        shown = "" if isinstance(given, dict | list) else f" (got {_masked(given)!r})"
        allowed, _ = found.setdefault(_field(item, raw), ([], shown))
        allowed.append(_allowed(item))
    return [
        f"{where}: {' or '.join(allowed).replace('or Input should be ', 'or ')}{shown}"
        for where, (allowed, shown) in found.items()
    ]


def _masked(given: object) -> object:
    """The same without the user and password of a URL: problems are printed and logged."""
    return re.sub(r"://[^@/]*@", "://***@", given) if isinstance(given, str) else given


def _field(item: ErrorDetails, raw: object) -> str:
    """The field as it is spelt in the file: pydantic's own words for a union's members go."""
    names: list[str] = []
    at: Any = raw
    *_, last = item["loc"] or ("",)
    for part in item["loc"]:
        if part in (at if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()):
            at = at[part]
            names.append(str(part))
    if item["type"] == "missing":
        names.append(str(last))
    return ".".join(names) or "(whole file)"


def _allowed(item: ErrorDetails) -> str:
    if item["type"] == "extra_forbidden":
        return "is not a known setting"
    if item["type"] == "union_tag_not_found":
        known = next(str(part) for part in reversed(item["loc"]) if part in _KINDS)
        return f"needs `kind`, one of {_KINDS[known]}"
    if item["type"] == "union_tag_invalid":
        return f"`kind` must be one of {item['ctx']['expected_tags']}, not {item['ctx']['tag']!r}"
    return item["msg"].removeprefix("Value error, ")
