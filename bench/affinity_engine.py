"""One tier's real engine behind its own HTTP server, without Ray; `bench.affinity` starts several.

python -m bench.affinity_engine config/laptop.yaml small 8101
"""

import asyncio
import sys
from pathlib import Path

import uvicorn

from core.settings import load
from deployments import environment
from deployments.vllm_engine import Vllm
from deployments.weights import prepare


class Silent:
    """A `core.ports.Progress` that says nothing."""

    def start(self, label: str, total: int | None) -> None:
        """Begin nothing."""

    def advance(self, units: int) -> None:
        """Count nothing."""

    def done(self) -> None:
        """End nothing."""


async def serve(config: Path, name: str, port: int) -> None:
    """Until it is killed."""
    tier = load(config).tier(name)
    app = await Vllm(tier, prepare(tier, environment.home(), Silent())).start()
    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="error")).serve()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
