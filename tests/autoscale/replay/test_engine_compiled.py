"""What is kept compiled is not what a changed file would compile to."""

import importlib
from pathlib import Path

import pytest

from autoscale.replay import engine_compiled

FOLDER = Path(engine_compiled.__file__).parent


def test_a_function_is_kept_by_the_digest_of_the_whole_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = engine_compiled._digest()
    (tmp_path / "engine_model.py").write_text("a = 1")
    monkeypatch.setattr(engine_compiled, "__file__", str(tmp_path / "engine_compiled.py"))
    one = engine_compiled._digest()
    (tmp_path / "engine_other.py").write_text("b = 1")
    two = engine_compiled._digest()
    assert len({before, one, two}) == 3

    def answer() -> int:
        return 42

    made = engine_compiled.compiled(answer)
    assert made() == 42
    assert answer.__qualname__.endswith(before)


def test_all_that_is_compiled_is_in_the_digest():
    """numba keeps a function until its own file changes; the others' files are in its name."""
    using = [
        path.stem
        for path in FOLDER.glob("*.py")
        if {"numba", "engine_compiled"} & set(path.read_text().replace(".", " ").split())
    ]
    assert {"engine_compiled", "engine_model", "engine_prefix", "engine_routing"} <= set(using)
    assert all(name.startswith("engine_") for name in using)
    assert importlib.import_module("autoscale.replay.engine_model").advance.__name__ == "advance"
