"""`hansom init`: a settings file with comments, made of the shipped ones, for this machine.

Promises: what is written is checked first, as `hansom serve` checks it; a file that is there stays
unless it is to be replaced.
"""

import json
import re
import shlex
import shutil
import tempfile
from pathlib import Path

import typer

from cli.command import writable_file
from cli.usage import UsageError
from core.errors import HansomError
from core.files.shipped import shipped
from core.settings.load import load

_ABOUT = {
    "laptop": "two small models on the CPU, through vLLM",
    "gpu": "two models on this machine's NVIDIA GPUs: keep the tiers that they hold",
    "simulated": "no models: engines that play tokens at a set pace, for tries and load tests",
}


def init(
    path: Path, *, laptop: bool, gpu: bool, simulated: bool, force: bool, as_json: bool
) -> None:
    """Write the file and say what to do next; raises `HansomError`."""
    path = path / "hansom.yaml" if path.is_dir() else path
    kind, why = chosen(laptop=laptop, gpu=gpu, simulated=simulated)
    if path.exists() and not force:
        raise HansomError(f"{path} is there already: name another, or replace it with --force.")
    writable_file(path)
    text = settings_text(kind)
    _check(text)
    path.write_text(text, encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({"path": str(path.absolute()), "kind": kind}))
        return
    name = shlex.quote(str(path.absolute()))
    typer.echo(
        f"""Wrote {path}: {_ABOUT[kind]}{why}.

Next:
  export HANSOM_CONFIG={name}
  hansom doctor                  what this machine lacks
  hansom serve                   start it, until Ctrl-C
  hansom ask "Hello!"            in another terminal
The prices in it are examples: put your own in."""
    )


def chosen(*, laptop: bool, gpu: bool, simulated: bool) -> tuple[str, str]:
    """The kind of settings and, where nothing was given, why; raises `UsageError`."""
    given = [name for name, on in zip(_ABOUT, (laptop, gpu, simulated), strict=True) if on]
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} exclude each other.")
    if given:
        return given[0], ""
    if shutil.which("nvidia-smi"):
        return "gpu", " (there is an NVIDIA driver; --laptop for the CPU)"
    return "laptop", " (there is no NVIDIA driver; --gpu where there will be one)"


def settings_text(kind: str) -> str:
    """The whole file: the tiers of a shipped one, then the settings that are changed most."""
    tiers = _tiers(shipped(f"{kind}.yaml").read_text(encoding="utf-8"))
    if kind == "gpu":  # of a cluster's nodes: one machine has no such resources
        tiers = re.sub(r"^    node_resources:.*\n", "", tiers, flags=re.M)
    common = shipped("init/settings.yaml").read_text(encoding="utf-8")
    return (
        f"# Settings of Hansom: {_ABOUT[kind]}.\n"
        "# Made by `hansom init`. Each setting: docs/settings.md. A relative path is beside this\n"
        "# file, else in the folder where Hansom is started, else among what ships with it.\n\n"
        "# The models, cheapest first; savings are counted against the last. Clients may ask for\n"
        "# `auto`, a tier's name or a model's. Prices are EXAMPLES.\n"
        f"{tiers.rstrip()}\n\n{common}"
    )


def _tiers(text: str) -> str:
    """The block `tiers:` of a settings file, with its comments."""
    start = text.index("tiers:\n")
    end = re.search(r"^(?=[a-z])(?!tiers:)", text[start:], re.M)
    block = text[start : start + end.start()] if end else text[start:]
    return re.sub(r"(^#.*\n|^\n)+\Z", "", block, flags=re.M)


def _check(text: str) -> None:
    """Load it as the server would, so that a mistake is not written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hansom.yaml"
        path.write_text(text, encoding="utf-8")
        load(path)
