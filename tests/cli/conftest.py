"""A small settings file for commands that need one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployments.serving import simulated


@pytest.fixture
def simulated_file() -> Callable[..., Path]:
    """Write the simulated settings with changes into a folder."""

    def write(folder: Path, **changes: Any) -> Path:
        path = folder / "serve.yaml"
        path.write_text(yaml.safe_dump(simulated(**changes)))
        return path

    return write
