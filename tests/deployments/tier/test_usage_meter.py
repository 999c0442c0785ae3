"""A meter tells what each request took of its engine, however the request ended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from core.call import Usage
from core.capability import Capabilities
from deployments.names import CAPABILITIES_PATH, USAGE_PATH
from deployments.tier.usage_meter import UsageMeter, note_ends, prompt_of, taken_of

ID = "r-1-cccccccc-0"
TOOK = Usage(10, 5, 3)
End = Callable[[], Awaitable[None]]


class App:
    """An engine's application: each request ends when `go` is set, then as `end` says."""

    def __init__(self, end: End | None = None) -> None:
        self.go = asyncio.Event()
        self.seen: list[str] = []
        self._end = end

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.seen.append(scope["type"])
        await self.go.wait()
        if self._end is not None:
            await self._end()


async def fails() -> None:
    raise RuntimeError("broken")


def scope(path: str = "/v1/chat/completions", id: str = ID) -> dict[str, Any]:
    headers = [(b"host", b"x"), (b"x-request-id", id.encode())] if id else []
    return {"type": "http", "path": path, "headers": headers}


async def nothing(*_: Any) -> Any:
    raise AssertionError("not to be called")


def begin(meter: UsageMeter, id: str = ID) -> asyncio.Task[None]:
    return asyncio.create_task(meter(scope(id=id), nothing, nothing))


async def post(meter: UsageMeter, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What the meter sends back to one question."""
    sent: list[dict[str, Any]] = []
    coming = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await meter(scope(USAGE_PATH), receive, send)
    return sent


async def ask(meter: UsageMeter, body: bytes) -> tuple[int, Any]:
    head, rest = await post(meter, {"type": "http.request", "body": body})
    return head["status"], orjson.loads(rest["body"])


@pytest.mark.parametrize("how", ["ends", "fails", "cancelled"])
async def test_what_a_request_took_is_told_once_it_is_over(how: str) -> None:
    app = App(fails if how == "fails" else None)
    meter = UsageMeter(app)
    running = begin(meter)
    await asyncio.sleep(0)
    asked = asyncio.create_task(ask(meter, orjson.dumps({"id": ID})))
    meter.note(ID, TOOK)
    await asyncio.sleep(0.01)
    assert not asked.done(), "it is still running, and more may come"
    running.cancel() if how == "cancelled" else app.go.set()
    await asyncio.wait({running})
    assert (how == "fails") is (not running.cancelled() and running.exception() is not None)
    fields = {"fresh_input_tokens": 10, "cached_input_tokens": 5, "output_tokens": 3}
    assert await asked == (200, fields)
    assert await meter.usage(ID) == TOOK, "it may be asked again"


async def test_what_the_engine_lets_go_of_after_the_handlers_end_is_waited_for() -> None:
    meter = UsageMeter(app := App())
    app.go.set()
    await begin(meter)
    asked = asyncio.create_task(meter.usage(ID))
    await asyncio.sleep(0.01)
    assert not asked.done()
    meter.note(ID, TOOK)
    assert await asked == TOOK


async def test_a_request_that_the_engine_did_not_begin_took_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deployments.tier.usage_meter._LET_GO_S", 0.01)
    meter = UsageMeter(app := App())
    app.go.set()
    await begin(meter)
    assert await meter.usage(ID) == Usage()


async def took(*noted: tuple[str, Usage]) -> Usage | None:
    """What a meter tells after these notes of one request's prompts."""
    meter = UsageMeter(app := App())
    running = begin(meter)
    await asyncio.sleep(0)
    for prompt, usage in noted:
        meter.note(ID, usage, prompt)
    app.go.set()
    await running
    return await meter.usage(ID)


@pytest.mark.parametrize("order", [1, -1])
async def test_a_prompt_counts_once_and_the_output_of_all_its_choices(order: int) -> None:
    """As the first to read it found the prefix cache, not as it left it to the others."""
    left_early = ("a", Usage())
    noted = [("a", TOOK), ("a", Usage(0, 15, 4)), left_early, ("a", Usage(0, 15, 1))]
    assert await took(*noted[::order]) == Usage(10, 5, 8)


async def test_every_prompt_of_a_request_counts() -> None:
    noted = [("a", Usage(6, 0, 2)), ("b", Usage(2, 7, 3)), ("a", Usage(0, 6, 1))]
    assert await took(*noted) == Usage(8, 7, 6)


async def test_beams_read_the_prompt_once_and_longer_ones_for_every_step() -> None:
    steps = ["0" * 32, "1" * 32, "1" * 32]
    ids = [f"chatcmpl-{ID}-{step}-beam-{at}" for at, step in enumerate(steps)]
    noted = [(prompt_of(one), Usage(9 + at, 0, 1)) for at, one in enumerate(ids)]
    assert await took(*noted) == Usage(9, 0, 3)


def test_only_vllms_own_marks_make_beams_of_a_request() -> None:
    prompts = [f"cmpl-mine-{'0' * 32}-beam-1-cccccccc-0-{at}" for at in range(2)]
    assert [prompt_of(one) for one in prompts] == prompts


async def test_of_a_request_that_never_came_it_says_null() -> None:
    meter = UsageMeter(App())
    meter.note("another", TOOK)
    meter.note("", TOOK)
    assert await ask(meter, b'{"id":"another"}') == (200, None)


async def test_it_remembers_only_the_last_requests() -> None:
    meter = UsageMeter(app := App(), kept=3)
    app.go.set()
    for number in range(5):
        running = begin(meter, f"id-{number}")
        await asyncio.sleep(0)
        meter.note(f"id-{number}", Usage(number, 0, 0))
        await running
    found = [await meter.usage(f"id-{number}") for number in range(5)]
    assert found == [None, None, Usage(2), Usage(3), Usage(4)]


@pytest.mark.parametrize(
    ("external", "found"),
    [
        (f"chatcmpl-{ID}", ID),
        (f"cmpl-{ID}-0", ID),
        (f"cmpl-{ID}-17", ID),
        (f"chatcmpl-{ID}-{'a1' * 16}-beam-0", ID),
        (f"cmpl-{ID}-{'0f' * 16}-beam-31", ID),
        (f"chatcmpl-{ID}-beam-0", ""),
        ("chatcmpl-other", ""),
        (ID, ""),
        ("cmpl-", ""),
        ("", ""),
    ],
)
async def test_vllms_id_holds_the_gateways(external: str, found: str) -> None:
    meter = UsageMeter(app := App())
    app.go.set()
    await begin(meter)
    assert meter.find(external) == found


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b'"id"', b"{}", b"1", b'{"id":"' + b"x" * 5000 + b'"}']
)
async def test_a_question_that_is_none_is_refused(body: bytes) -> None:
    status, told = await ask(UsageMeter(App()), body)
    assert (status, "id" in told["error"]["message"]) == (400, True)


async def test_a_gateway_that_leaves_while_it_asks_is_not_answered() -> None:
    assert await post(UsageMeter(App()), {"type": "http.disconnect"}) == []


@pytest.mark.parametrize("given", [scope(id=""), {"type": "lifespan"}])
async def test_what_has_no_id_only_passes(given: dict[str, Any]) -> None:
    meter = UsageMeter(app := App())
    app.go.set()
    await meter(given, nothing, nothing)
    assert app.seen == [given["type"]]
    assert await meter.usage("") is None


@dataclass
class Stats:
    num_generation_tokens: int = 0


@dataclass
class Detokenizer:
    made: int = 0

    def num_output_tokens(self) -> int:
        return self.made


@dataclass
class State:
    """A request in vLLM's output processor, with the names that the meter reads."""

    request_id: str
    external_req_id: str
    prompt_len: int = 12
    num_cached_tokens: int | None = 4
    is_prefilling: bool = False
    stats: Stats | None = None
    detokenizer: Detokenizer = field(default_factory=Detokenizer)


class Processor:
    """vLLM's output processor, as far as requests leave it."""

    def __init__(self, *states: State) -> None:
        self.request_states = {state.request_id: state for state in states}
        self.external_req_ids: dict[str, list[str]] = {}
        for state in states:
            self.external_req_ids.setdefault(state.external_req_id, []).append(state.request_id)
        self.parents: dict[str, list[str]] = {}

    def abort_requests(self, request_ids: Iterable[str], internal: bool) -> list[str]:
        stopped: list[str] = []
        for id in request_ids:
            for one in [id] if internal else self.external_req_ids.pop(id, []):
                if (state := self.request_states.pop(one, None)) is not None:
                    self._forget(state)
                    stopped.append(one)
                elif children := self.parents.pop(one, None):
                    stopped += self.abort_requests(children, internal=True)
        return stopped

    def _finish_request(self, req_state: State) -> None:
        del self.request_states[req_state.request_id]
        self._forget(req_state)

    def _forget(self, state: State) -> None:
        if state.request_id in (left := self.external_req_ids.get(state.external_req_id, [])):
            left.remove(state.request_id)


def noted(*states: State) -> tuple[Processor, list[tuple[str, Usage]]]:
    processor, notes = Processor(*states), list[tuple[str, Usage]]()
    note_ends(processor, lambda id, usage: notes.append((id, usage)))
    return processor, notes


def two() -> tuple[State, State]:
    return (
        State("a-1", "chatcmpl-a", stats=Stats(6)),
        State("b-1", "chatcmpl-b", prompt_len=20, num_cached_tokens=0, stats=Stats(2)),
    )


def test_a_request_that_ends_is_told_once() -> None:
    first, second = two()
    processor, notes = noted(first, second)
    processor._finish_request(second)
    assert notes == [("chatcmpl-b", Usage(20, 0, 2))]
    assert processor.abort_requests(["b-1"], internal=True) == []
    assert len(notes) == 1
    assert list(processor.request_states) == ["a-1"]


@pytest.mark.parametrize(("id", "internal"), [("a-1", True), ("chatcmpl-a", False)])
def test_an_abort_is_told_with_either_id(id: str, internal: bool) -> None:
    processor, notes = noted(*two())
    once = (one for one in [id])  # an iterable may be read once
    assert processor.abort_requests(once, internal=internal) == ["a-1"]
    assert notes == [("chatcmpl-a", Usage(8, 4, 6))]
    assert list(processor.request_states) == ["b-1"]


def test_the_abort_of_a_parent_tells_each_child() -> None:
    children = [State(f"{at}_p", "chatcmpl-p", stats=Stats(at + 1)) for at in range(3)]
    processor, notes = noted(*children)
    processor.parents["p"] = ["1_p", "2_p"]
    processor._finish_request(children[0])
    assert processor.abort_requests(["p"], internal=True) == ["1_p", "2_p"]
    assert notes == [("chatcmpl-p", Usage(8, 4, made)) for made in (1, 2, 3)]


def test_an_abort_of_what_is_not_there_tells_nothing() -> None:
    processor, notes = noted()
    for internal in (True, False):
        assert processor.abort_requests(["a"], internal=internal) == []
    assert notes == []


@pytest.mark.parametrize(
    ("state", "took"),
    [
        (State("a", "a", is_prefilling=True, stats=Stats(0)), Usage()),
        (State("a", "a", stats=Stats(6)), Usage(8, 4, 6)),
        (State("a", "a", stats=None, detokenizer=Detokenizer(5)), Usage(8, 4, 5)),
        (State("a", "a", num_cached_tokens=None, stats=Stats(1)), Usage(12, 0, 1)),
    ],
)
def test_nothing_is_taken_before_the_prefill_and_then_as_vllm_counts(
    state: State, took: Usage
) -> None:
    assert taken_of(state) == took


async def test_it_tells_what_its_engine_can_do() -> None:
    meter = UsageMeter(App())
    meter.capabilities = Capabilities(tools=False, context_tokens=64)
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await meter(scope(CAPABILITIES_PATH, id=""), nothing, send)
    told = orjson.loads(sent[1]["body"])
    assert sent[0]["status"] == 200
    assert Capabilities(**told) == meter.capabilities


@pytest.mark.parametrize("internal", [True, False])
def test_who_asks_gets_vllms_own_state_of_each_that_ends(internal: bool) -> None:
    first, second = two()
    processor, ended = Processor(first, second), list[State]()
    note_ends(processor, lambda id, usage: None, ended.append)
    processor._finish_request(second)
    processor.abort_requests(["a-1" if internal else "chatcmpl-a"], internal=internal)
    assert ended == [second, first]
