"""Real processes are killed: clients are told, the rest goes on, and nothing is lost or left.

The tests share a cluster of their own and run in order; each leaves it whole but the last.
"""

import signal
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import openai
import psutil
import pytest
from openai.types.chat import ChatCompletionMessageParam

from core.ledger_line import Kind, Outcome
from deployments.machine.redis_server import RedisServer
from tests.deployments.serving import Serving, simulated, wait

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello!"}]


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    one = Serving(simulated(ledger={"drain_interval_s": 0.1}))
    try:
        one.start()
        yield one
    finally:
        one.end()


def ask(serving: Serving, id_: str = "", **changes: Any) -> tuple[str, str]:
    """The tier that answered, and what the cache said."""
    raw = serving.client().chat.completions.with_raw_response.create(
        **{"model": "auto", "messages": HELLO, "max_tokens": 3} | changes,
        extra_headers={"x-request-id": id_ or uuid.uuid4().hex},
    )
    return raw.headers["x-hansom-tier"], raw.headers["x-hansom-cache"]


def answers(serving: Serving, **changes: Any) -> bool:
    try:
        return bool(ask(serving, **changes))
    except openai.APIError:
        return False


def test_an_engine_killed_in_a_stream_is_told_to_the_client_and_replaced(
    serving: Serving,
) -> None:
    id_ = uuid.uuid4().hex
    chunks = serving.client().chat.completions.create(
        model="small",
        messages=HELLO,
        max_tokens=1500,
        stream=True,
        extra_headers={"x-request-id": id_},
    )
    for _ in range(3):
        next(iter(chunks))
    serving.process("ServeReplica:tier-small:").kill()
    with pytest.raises(openai.APIError, match="broke after its first token"):
        list(chunks)
    assert ask(serving)[0] in ("small", "large"), "another tier answers at once"
    wait(lambda: answers(serving, model="small"), 60)
    (line,) = serving.lines(id_)
    assert (line.outcome, line.error_code) == (Outcome.ERROR, "stream_broken")
    assert line.usage.output_tokens > 0


def test_an_engine_killed_before_its_first_token_costs_the_client_nothing(
    serving: Serving,
) -> None:
    wait(lambda: answers(serving, model="small"), 60)
    engine = serving.process("ServeReplica:tier-small:")
    engine.send_signal(signal.SIGSTOP)  # it takes the request and says nothing
    id_ = uuid.uuid4().hex
    client = serving.client()
    found: list[str] = []

    def one() -> None:
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=HELLO, max_tokens=3, extra_headers={"x-request-id": id_}
        )
        found.append(raw.headers["x-hansom-tier"])

    thread = threading.Thread(target=one)
    thread.start()
    time.sleep(0.5)
    engine.kill()
    thread.join(30)
    assert found == ["large"]
    failed, served = sorted(serving.lines(id_, count=2), key=lambda line: line.attempt)
    assert (failed.tier, failed.error_code) == ("small", "engine_unreachable")
    assert (served.kind, served.outcome) == (Kind.FALLBACK, Outcome.SUCCESS)
    wait(lambda: answers(serving, model="small"), 60)


def test_the_router_killed_leaves_every_request_answered(serving: Serving) -> None:
    serving.process("ServeReplica:router:").kill()
    for _ in range(5):
        assert ask(serving)[0] in ("small", "large")


def test_redis_killed_costs_no_answer_and_no_ledger_line(serving: Serving) -> None:
    asked = {"temperature": 0, "messages": [{"role": "user", "content": uuid.uuid4().hex}]}
    ask(serving, **asked)
    wait(lambda: ask(serving, **asked)[1] == "exact", 10)
    serving.process("redis-server").kill()
    sent = [uuid.uuid4().hex for _ in range(10)]
    for id_ in sent:
        assert ask(serving, id_, **asked)[1] == "miss"
    with pytest.raises(TimeoutError):
        serving.lines(sent[0], timeout_s=2)
    redis = RedisServer(serving.home / "redis", serving.home / "run" / "redis.sock")
    redis.start()
    try:
        for id_ in sent:
            (line,) = serving.lines(id_)
            assert (line.outcome, line.cache) == (Outcome.SUCCESS, "miss")
        wait(lambda: ask(serving, **asked)[1] == "exact", 20)
    finally:
        redis.stop()


def test_ctrl_c_leaves_no_process_and_no_lock(serving: Serving) -> None:
    started = serving.processes()
    assert len(started) > 8
    _, left = serving.interrupt()
    assert left == []
    assert not any(psutil.pid_exists(process.pid) and process.is_running() for process in started)
    assert not (serving.home / "run" / "serve.json").exists()
