"""Validate a cluster file as Ray does, with its defaults filled in.

Promises:
- `launcher` returns the configuration that `ray up` works with, `kuberay` the one that Ray's
  autoscaler derives from a RayService or RayCluster.
- A file that Ray refuses raises `SettingsError`, each problem with its place in the file.
- Nothing is asked of a cloud, and nothing is printed.

Not covered: what a cloud refuses (images, quotas), and `resources` that Ray asks AWS for.
"""

import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any

import click
import jsonschema
import ray.autoscaler
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.autoscaler._private.providers import _NODE_PROVIDERS
from ray.autoscaler._private.util import prepare_config, validate_config

from core.errors import SettingsError

Raw = Mapping[str, Any]

_SCHEMA = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
# What Ray's own code ends in when it refuses a file, or trips over one of another form.
_REFUSALS = (
    ValueError, AssertionError, RuntimeError, KeyError, TypeError, AttributeError,
    click.ClickException, jsonschema.ValidationError,
)  # fmt: skip


def launcher(path: Path, raw: Raw) -> dict[str, Any]:
    """The configuration that `ray up` makes of a cluster file; raises `SettingsError`."""
    # Before Ray fills anything in, because it trips over values of a wrong type without a word.
    _refuse(path, _schema_problems(raw))
    _refuse(path, _provider_problems(raw))

    def fill() -> dict[str, Any]:
        config: dict[str, Any] = prepare_config(deepcopy(dict(raw)))
        if config["provider"]["type"] == "aws":  # Ray asks AWS for them between these two steps
            for node in config["available_node_types"].values():
                node.setdefault("resources", {})
        validate_config(config)
        return config

    config = _as_ray(path, fill)
    _refuse(path, _bounds_problems(config))
    return config


def kuberay(path: Path, raw: Raw) -> dict[str, Any]:
    """The autoscaler's configuration for a RayService or RayCluster; raises `SettingsError`."""

    def derive() -> dict[str, Any]:
        spec = raw["spec"] if raw["kind"] == "RayCluster" else raw["spec"]["rayClusterConfig"]
        for group in spec["workerGroupSpecs"]:  # Ray would speak of bounds that are not in the file
            least, most = group["minReplicas"], group["maxReplicas"]
            if not 0 <= least <= most:
                named = f"worker group {group['groupName']}"
                raise ValueError(f"{named}: minReplicas {least}, maxReplicas {most}")
        name = {"name": raw["metadata"]["name"], "namespace": "default"}
        config: dict[str, Any] = _derive_autoscaling_config_from_ray_cr(
            {"metadata": name, "spec": deepcopy(spec)}
        )
        return config

    return _as_ray(path, derive)


def _schema_problems(raw: Raw) -> Iterator[str]:
    """Every value of a wrong form or unknown name; what is missing, Ray's defaults may fill in."""
    validator = jsonschema.Draft7Validator(json.loads(_SCHEMA.read_text(encoding="utf-8")))
    for error in sorted(validator.iter_errors(raw), key=lambda one: list(map(str, one.path))):
        if error.validator != "required":
            yield _words(error)


def _provider_problems(raw: Raw) -> Iterator[str]:
    kind = raw.get("provider", {}).get("type")
    if kind is None:
        yield "provider.type is missing: it says whose machines these are"
    elif _NODE_PROVIDERS.get(kind) is None:
        known = ", ".join(name for name in _NODE_PROVIDERS if _NODE_PROVIDERS[name] is not None)
        yield f"provider.type: {kind!r} is none that Ray knows ({known})"


def _bounds_problems(config: Raw) -> Iterator[str]:
    """What Ray's autoscaler stops at on the head, without a message (`NodeTypeConfig`)."""
    for name, node in config["available_node_types"].items():
        least, most = node.get("min_workers", 0), node.get("max_workers", 0)
        most += name == config["head_node_type"]  # the head itself is one of its type
        if least < 0:
            yield f"available_node_types.{name}.min_workers: {least} is below 0"
        if least > most:
            yield f"available_node_types.{name}: min_workers {least} is above max_workers {most}"


def _as_ray(path: Path, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run Ray's code in silence; what it refuses becomes a `SettingsError`."""
    try:
        with _silence():
            return read()
    except _REFUSALS as error:
        raise SettingsError(path, [_words(error)]) from error


def _words(error: Exception) -> str:
    if isinstance(error, jsonschema.ValidationError):
        place = ".".join(map(str, error.absolute_path))
        return f"{place}: {error.message}" if place else error.message
    if isinstance(error, json.JSONDecodeError):
        wanted = '\'"{\\"name\\": 1}"\''
        return f"rayStartParams.resources: {error.doc!r} is not what Ray reads there, like {wanted}"
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    if isinstance(error, click.ClickException):
        return error.message
    return str(error) or "Ray's own check of the file fails and gives no reason"


def _refuse(path: Path, problems: Iterable[str]) -> None:
    if found := list(problems):
        raise SettingsError(path, found)


@contextmanager
def _silence() -> Iterator[None]:
    """Ray writes its warnings to either stream: with --json only the answer may stand there."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
