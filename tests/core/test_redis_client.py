"""Clients of Redis are made in one place, and outlive a restart of Redis."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.redis_client import connect, connect_pool
from tests.conftest import RedisServer
from tests.packages import SOURCES

OWN = {"core/redis_client.py", "deployments/machine/redis_server.py"}
ROOT = Path(__file__).parents[2]


def constructions() -> Iterator[str]:
    """Source files that make a Redis client by themselves."""
    for package in SOURCES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if _makes_a_client(node):
                    yield str(path.relative_to(ROOT))


def _makes_a_client(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in {"redis.asyncio.retry", "redis.backoff"}
    if isinstance(node, ast.Attribute) and node.attr == "from_url":
        return "Redis" in ast.unparse(node.value)
    return False


def test_every_client_of_what_serves_is_made_in_one_place():
    made = {path for path in constructions() if not path.startswith("bench/")}
    assert made == OWN


@pytest.mark.redis
@pytest.mark.parametrize("pooled", [False, True], ids=["plain", "blocking"])
async def test_one_retry_mends_the_connections_that_a_restart_made_stale(
    tmp_path: Path, pooled: bool
):
    server = RedisServer(tmp_path)
    server.start()
    client = connect_pool(server.url, 2, retries=1) if pooled else connect(server.url, retries=1)
    try:
        assert await client.ping()
        server.kill()
        server.start()
        assert await client.ping()
    finally:
        await client.aclose()
        server.kill()
