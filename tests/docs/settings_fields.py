"""Every setting as the code has it: dotted name, type and default in the words of the docs."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from core.files.shipped import ROOT
from core.settings.load import Settings

_PLAIN = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    Decimal: "decimal",
    dict: "mapping",
    tuple: "list of text",
}


@dataclass(frozen=True)
class Setting:
    name: str
    type: str
    default: str


def all_settings() -> list[Setting]:
    return list(_walk(Settings, ""))


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        dotted = prefix + name
        members = _members(field.annotation)
        models = [member for member in members if _is_model(member)]
        if len(models) > 1 and all("kind" in one.model_fields for one in models):
            kinds = [get_args(one.model_fields["kind"].annotation)[0] for one in models]
            yield Setting(f"{dotted}.kind", _one_of(kinds), "required")
        for one in models:
            yield from (s for s in _walk(one, f"{dotted}.") if _tells(s, dotted, len(models)))
        if models:
            continue
        inner = _list_of(members[0])
        if inner is not None:
            yield from _walk(inner, f"{dotted}[].")
        else:
            told = " or ".join(_type(member, field) for member in members)
            yield Setting(dotted, told, _default(field))


def _tells(setting: Setting, dotted: str, models: int) -> bool:
    """A kind that several models share is told once, for all of them."""
    return models == 1 or setting.name != f"{dotted}.kind"


def _members(annotation: Any) -> list[Any]:
    """The types an annotation allows, without None; Annotated is looked through."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [found for part in get_args(annotation) for found in _members(part)]
    return [] if annotation is type(None) else [annotation]


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)


def _list_of(found: Any) -> type[BaseModel] | None:
    if get_origin(found) is tuple and _is_model(get_args(found)[0]):
        return get_args(found)[0]
    return None


def _type(found: Any, field: FieldInfo) -> str:
    if get_origin(found) is Literal:
        return _one_of(get_args(found))
    if get_origin(found) is tuple and float in _members(get_args(found)[0]):
        return "list of numbers"
    told = _PLAIN[get_origin(found) or found]
    low = {type(rule): rule for rule in field.metadata}
    if Ge in low and Le in low:
        return f"{told}, {low[Ge].ge} to {low[Le].le}"
    if Ge in low:
        return f"{told}, at least {low[Ge].ge}"
    if Gt in low:
        return f"{told}, above {low[Gt].gt}"
    return told


def _one_of(values: Any) -> str:
    return "one of " + ", ".join(f"`{value}`" for value in values)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "empty"
    if field.default is None:
        return "none"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    if isinstance(field.default, Path) and field.default.is_absolute():  # it ships with Hansom
        return f"`{field.default.relative_to(ROOT)}`"
    return f"`{field.default}`"
