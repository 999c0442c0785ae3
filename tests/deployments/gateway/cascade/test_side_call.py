"""A question of our own is asked of a replica as a client's is, and says where it went."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.call import Lane, Usage
from core.errors import Unavailable
from core.ledger_line import Kind, LedgerLine, Outcome
from deployments.gateway.attempt import Attempt
from deployments.gateway.backends.connection import ReplicaGone
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.tier import TierReplicas
from deployments.gateway.cascade.side_call import asked
from tests.deployments.engines import Engine, answer, answers, dies, refuses, serving, stalls
from tests.deployments.gateway.test_attempt import Kept, attempt, recorder
from tests.deployments.rig import call

BODY = {"model": "m", "messages": [{"role": "user", "content": "Same?"}]}


@asynccontextmanager
async def tier(*engines: Engine, stall_s: float = 5.0) -> AsyncIterator[TierReplicas]:
    connections = Connections()
    async with serving(*engines) as replicas:
        yield TierReplicas("small", lambda: replicas, connections, stall_s)
        await connections.close()


def one_attempt(folder: Path) -> tuple[Attempt, Kept]:
    of, kept, _ = recorder(folder)
    return attempt(of, call(), Kind.CLASSIFIER, 3), kept


async def test_the_answer_comes_back_and_the_engine_knows_the_attempt(tmp_path: Path) -> None:
    engine = Engine(answers([" yes"]))
    one, kept = one_attempt(tmp_path)
    async with tier(engine) as replicas:
        found = await asked(one, replicas, BODY, 5.0)
        assert found == answer(" yes", 1)
        assert replicas.in_flight == 0
    assert engine.asked == [BODY]
    assert engine.headers[0]["x-request-id"] == one.engine_request_id
    assert kept.lines == [], "the caller closes the attempt"


async def test_it_goes_in_the_lane_of_its_call(tmp_path: Path) -> None:
    engine = Engine(answers([" yes"]))
    of, _, _ = recorder(tmp_path)
    one = attempt(of, call(lane=Lane.BATCH), Kind.CLASSIFIER)
    async with tier(engine) as replicas:
        await asked(one, replicas, BODY, 5.0)
        assert replicas.batch.open == 0
    assert engine.asked == [BODY | {"priority": 1}]
    assert engine.headers[0]["x-hansom-lane"] == "batch"


@pytest.mark.parametrize(
    ("engine", "error"),
    [(Engine(refuses(400)), ValueError), (Engine(refuses(503)), ValueError),
     (Engine(dies), ReplicaGone), (Engine(stalls), TimeoutError)],
    ids=["400", "503", "dies", "stalls"],
)  # fmt: skip
async def test_without_an_answer_it_raises_and_holds_no_place(
    tmp_path: Path, engine: Engine, error: type[Exception]
) -> None:
    one, _ = one_attempt(tmp_path)
    async with tier(engine) as replicas:
        with pytest.raises(error):
            await asked(one, replicas, BODY, 0.2)
        assert replicas.in_flight == 0


async def test_a_tier_without_a_replica_is_asked_nothing(tmp_path: Path) -> None:
    one, kept = one_attempt(tmp_path)
    async with tier() as replicas:
        with pytest.raises(Unavailable):
            await asked(one, replicas, BODY, 1.0)
    one.close(Outcome.ERROR, Usage(), error="no_replica")
    (line,) = kept.lines
    assert not line.estimated_tokens, "sent nowhere: it is written at once, and took nothing"


async def test_what_was_given_up_is_told_by_the_replica_that_had_it(tmp_path: Path) -> None:
    engine = Engine(stalls)
    of, kept, _ = recorder(tmp_path)
    one = attempt(of, call(), Kind.CLASSIFIER)
    async with tier(engine) as replicas:
        with pytest.raises(TimeoutError):
            await asked(one, replicas, BODY, 0.1)
        one.close(Outcome.TIMEOUT, Usage())
        lines: list[LedgerLine] = kept.lines
        assert lines == [], "its replica is asked first"
        await of.late.close()
    (line,) = kept.lines
    assert line.estimated_tokens, "this one does not tell"


async def test_a_caller_that_is_cancelled_leaves_the_engine(tmp_path: Path) -> None:
    engine = Engine(stalls)
    one, _ = one_attempt(tmp_path)
    async with tier(engine) as replicas:
        running = asyncio.create_task(asked(one, replicas, BODY, 60.0))
        async with asyncio.timeout(5):
            while not engine.asked:  # noqa: ASYNC110 - it has no event to set
                await asyncio.sleep(0.001)
        running.cancel()
        async with asyncio.timeout(5):
            await engine.left.wait()
        await asyncio.wait({running})
        assert running.cancelled()
        assert replicas.in_flight == 0
