"""The ledger's deployment without Serve: it drains, forgets what is old, and ends when told."""

import asyncio
import time
import uuid
from pathlib import Path

import pytest

from deployments.ledger.drain import Ledger
from ledger.path.redis_stream import RedisStream
from ledger.path.retention import DAY_S
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.rig import settings_of
from tests.ledger.lines import line, until

pytestmark = pytest.mark.redis


# Serve awaits what Python itself only calls.
@pytest.mark.filterwarnings("ignore:coroutine 'Ledger.__del__' was never awaited")
@pytest.mark.parametrize("keep_days", [None, 30.0])
async def test_it_drains_and_forgets_what_the_settings_tell(
    keep_days: float | None, redis_url: str, tmp_path: Path
) -> None:
    url, name, now_s = sqlite_url(tmp_path / "ledger.sqlite3"), uuid.uuid4().hex, time.time()
    store = SqlStore(url)
    store.insert([line(age, created_s=now_s - age * DAY_S) for age in (40, 31, 29, 1)])
    kept_for = {"stream": name, "drain_interval_s": 0.01, "keep_days": keep_days}
    settings = settings_of(ledger=kept_for, log_level="error")
    ledger = Ledger(settings, redis_url, str(url))
    stream = RedisStream(redis_url, name)
    await stream.append([line("new", created_s=now_s).to_bytes()])
    await ledger.check_health()
    kept = {"c29", "c1", "cnew"} | ({"c40", "c31"} if keep_days is None else set())
    await until(lambda: {item.line.call_id for item in store.tail(9)} == kept)
    await ledger.check_health()
    await ledger.__del__()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await stream.close()
    store.close()
