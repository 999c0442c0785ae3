"""One tier's real engine behind its own HTTP server, without Ray; `bench.affinity` starts several.

python -m bench.affinity_engine config/laptop.yaml small 8101
"""

import asyncio
import sys
from pathlib import Path

import uvicorn

from core.progress import SilentProgress
from core.settings.load import load
from deployments.machine import environment
from deployments.machine.weights import prepare
from deployments.scaling import profile_of
from deployments.tier.vllm_engine import Vllm


async def serve(config: Path, name: str, port: int) -> None:
    """Until it is killed."""
    settings = load(config)
    tier = settings.tier(name)
    folder = prepare(tier, environment.home(), SilentProgress())
    app = await Vllm(tier, folder, profile_of(settings, tier).prefill_tokens_per_s).start()
    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="error")).serve()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
