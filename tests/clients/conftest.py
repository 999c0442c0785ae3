"""What the client libraries need in order to stay on this machine."""

import json
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

# Before it is imported: LiteLLM would fetch its price table, and so would LangSmith send traces.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LANGSMITH_TRACING"] = "false"

from tests.deployments.serving import Serving


@pytest.fixture(scope="session")
def litellm() -> ModuleType:
    """LiteLLM, which takes 5 s to import: only where a test uses it, and not at collection."""
    return import_module("litellm")


@pytest.fixture
def vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """tiktoken takes its vocabulary from LiteLLM's package, where it would download it."""
    spec = find_spec("litellm")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))


@pytest.fixture(scope="session")
def poor_key(hansom: Serving) -> str:
    """A virtual key whose budget no request fits into."""
    made = hansom.hansom("keys", "create", "--tenant", "poor", "--budget", "1 tokens/day", "--json")
    return str(json.loads(made)["secret"])
