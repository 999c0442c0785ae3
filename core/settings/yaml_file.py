"""Read a YAML file into a frozen model, and name each wrong field as the file spells it.

Promised: `read` returns a checked model or raises a `SettingsError` that names the file, each
field, what was given and what is allowed.
Not covered: what the fields mean (`core.settings.load`, `core.settings.prices`).
"""

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.errors import SettingsError
from core.files import text_file
from core.files.shipped import FOLDER
from core.settings.allowed import allowed
from core.settings.base import Frozen

Model = TypeVar("Model", bound=Frozen)

# PyYAML ends a line at these, as YAML 1.1 has it; YAML 1.2, and every editor, does not. It reads
# characters of a private use area in their place.
_HIDDEN = {0x85: 0x10FF85, 0x2028: 0x10FF28, 0x2029: 0x10FF29}
_SHOWN = {hidden: shown for shown, hidden in _HIDDEN.items()}
_KINDS = {
    "engine": "'vllm', 'simulated'",
    "source": "'path', 'hub', 'wheels'",
    "models": "'api', 'self_hosted'",
}


def read(path: Path, kind: type[Model], key: str) -> Model:
    """The file as a `kind`, whose one required key is `key`.

    Raises `SettingsError`, and `UnreadableFile` for a file that is not there or cannot be read.
    """
    return checked(mapping(path, key), path, kind)


def mapping(path: Path, key: str) -> dict[str, Any]:
    """The file as it is spelt, not checked further; raises as `read` does."""
    raw = load(path)
    if raw is None:
        raise SettingsError(path, [f"is empty: it must be a mapping with the key `{key}`"])
    if not isinstance(raw, dict):
        raise SettingsError(path, [f"must be a mapping with the key `{key}`"])
    return raw


def checked(raw: dict[str, Any], path: Path, kind: type[Model]) -> Model:
    """A mapping that was read from `path` as a `kind`; raises `SettingsError`."""
    try:
        return kind.model_validate(raw, context={FOLDER: path.absolute().parent})
    except ValidationError as error:
        raise SettingsError(path, _problems(error, raw)) from error


def load(path: Path) -> Any:
    """What a YAML file holds, None for an empty one; raises `SettingsError`, `UnreadableFile`."""
    text = text_file.read(path)
    try:
        return _restored(yaml.load(text.translate(_HIDDEN), _Loader))
    except yaml.YAMLError as error:
        raise SettingsError(path, [f"is not YAML: {_place(error)}"]) from error
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SettingsError(path, [f"is not YAML: {why}"]) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader; a key that stands twice is an error, where PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; raises `yaml.constructor.ConstructorError` for a repeated key."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key `{key.value}` stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _place(error: yaml.YAMLError) -> str:
    """`line 3, column 5: mapping values are not allowed here`."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = getattr(error, "problem", None) or getattr(error, "context", None)
        return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"position {error.position}: a character that YAML does not allow"
    return str(error)


def _restored(value: object) -> object:
    if isinstance(value, str):
        return value.translate(_SHOWN)
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if isinstance(value, dict):
        return {_restored(name): _restored(item) for name, item in value.items()}
    return value


def _problems(error: ValidationError, raw: object) -> list[str]:
    """Each wrong field as `field: what is allowed (got ...)`; a union's members on one line."""
    found: dict[str, tuple[list[str], str]] = {}
    for item in error.errors():
        given = item["input"]
        if item["type"] == "too_short" and len(given) > item["ctx"]["actual_length"]:
            continue  # pydantic counts good items only, and the bad ones are told by themselves
        shown = "" if isinstance(given, dict | list) else f" (got {_masked(given)!r})"
        words, _ = found.setdefault(_field(item, raw), ([], shown))
        words.append(_allowed(item))
    return [f"{where}: {_either(words)}{shown}" for where, (words, shown) in found.items()]


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
    if item["type"] == "union_tag_not_found":
        known = next(str(part) for part in reversed(item["loc"]) if part in _KINDS)
        return f"needs `kind`, one of {_KINDS[known]}"
    if item["type"] == "union_tag_invalid":
        return f"`kind` must be one of {item['ctx']['expected_tags']}, not {item['ctx']['tag']!r}"
    return allowed(item)


def _either(words: list[str]) -> str:
    """What the members of a union allow, each once: `must be true or false or a number`."""
    return " or ".join(dict.fromkeys(words)).replace(" or must be ", " or ")
