"""`docs/api.md` has every route, header, error, code and cache directive, and no other."""

import ast
import inspect
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest

from cache.exact.eligible import FINISHED, Directives, directives, eligible
from core import errors
from core.call import Call, Decision, Endpoint, Lane, Risk
from core.errors import HansomError, Overloaded, SettingsError
from core.parameters import Parameters
from core.settings.load import load
from deployments.gateway.embeddings import Embeddings
from deployments.gateway.endpoint import Application, Generation, Routes, error_reply
from deployments.gateway.feedback import Feedback
from deployments.gateway.reply import closing_object, headers
from router.policy.terms import RoutingCode
from tests import packages
from tests.docs import pages

PAGE = "docs/api.md"
SERVED = set(packages.SOURCES) - {"cli", "bench", "training"}
SOURCES = [file for folder in SERVED for file in (pages.ROOT / folder).rglob("*.py")]
SETTINGS = load(pages.ROOT / "config" / "simulated.yaml")
DECISION = Decision("small", "easy", "it is easy", difficulty=0.1, version="v1")
# The policy's own, and the two that the pipeline adds.
REASON_CODES = {code.value for code in RoutingCode} | {"cache_exact", "cache_semantic"}
DOCUMENTED_ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, HansomError) and not issubclass(kind, SettingsError)
]


def make_call(*, stream: bool) -> Call:
    return Call(
        call_id="c", request_id="r", endpoint=Endpoint.CHAT, tenant="t", requested="auto", body={},
        asked=Parameters("auto"), stream=stream, include_usage=False, arrived_s=0.0, deadline_s=1.0,
    )  # fmt: skip


def nodes() -> Iterator[ast.AST]:
    for file in SOURCES:
        yield from ast.walk(ast.parse(file.read_text(encoding="utf-8")))


def keyword_texts(name: str) -> set[str]:
    """Every text given as the keyword argument `name` in a call, also inside `a or b`."""
    return {
        part.value
        for node in nodes()
        if isinstance(node, ast.keyword) and node.arg == name
        for part in ast.walk(node.value)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def make_application() -> Any:
    @asynccontextmanager
    async def lifespan(_app: object):
        yield

    nothing: Any = None
    routes = Routes(SETTINGS, nothing, nothing)
    embeddings = Embeddings(nothing, nothing, 0, nothing, nothing, nothing, 0)
    chat, completion = (
        Generation(endpoint, nothing, nothing, nothing, nothing, 0)
        for endpoint in (Endpoint.CHAT, Endpoint.COMPLETION)
    )
    feedback = Feedback(SETTINGS, nothing, None, 0, nothing, nothing, nothing, 0)
    return Application(chat, completion, embeddings, feedback, routes, lifespan)


def test_every_route_is_told_with_its_method_and_none_that_is_gone():
    in_code = {
        route.path: (route.methods or set()) - {"HEAD"} for route in make_application().routes
    }
    told = {path: {cells[0]} for path, cells in pages.rows(PAGE, "route").items()}
    assert told == in_code


def test_every_response_header_is_told_and_none_that_is_gone():
    sent = {
        name
        for stream in (True, False)
        for name in headers(
            make_call(stream=stream), DECISION, SETTINGS.tiers[0], cache="miss", cost_usd_micros=1
        )
        if name.startswith("x-")
    }
    # Serve itself answers with the request's id, accounts tell of soft budgets, and embeddings of
    # texts that were cut.
    ours = {"x-request-id", "x-hansom-budget", "x-hansom-truncated"}
    assert set(pages.rows(PAGE, "response header")) == sent | ours


def test_every_header_of_ours_in_the_code_is_told():
    in_code = {
        node.value
        for node in nodes()
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("x-hansom-", "x-request-"))
    }
    told = set(pages.rows(PAGE, "response header")) | set(pages.rows(PAGE, "request header"))
    assert {name for name in told if name.startswith(("x-hansom-", "x-request-"))} == in_code


def test_the_values_of_the_risk_header_are_those_of_the_code():
    cell = pages.rows(PAGE, "request header")["x-hansom-risk"][0]
    assert pages.words(cell) == set(Risk)


def test_the_values_of_the_lane_header_are_those_of_the_code():
    cell = pages.rows(PAGE, "request header")["x-hansom-lane"][0]
    assert pages.words(cell) == set(Lane)


def test_every_error_is_told_with_its_status_and_type():
    told = {name: tuple(cells[:2]) for name, cells in pages.rows(PAGE, "error").items()}
    in_code = {kind.__name__: (str(kind.status), f"`{kind.kind}`") for kind in DOCUMENTED_ERRORS}
    assert told == in_code


def test_every_error_code_is_told_and_none_that_is_gone():
    told = {code for cells in pages.rows(PAGE, "error").values() for code in pages.words(cells[2])}
    assert told == keyword_texts("code") - REASON_CODES


@pytest.mark.parametrize("kind", DOCUMENTED_ERRORS, ids=lambda kind: kind.__name__)
def test_the_openai_client_raises_the_exception_that_is_told(kind: type[HansomError]):
    reply = error_reply(kind("it failed"))

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(reply.status, content=reply.body, headers=dict(reply.headers))

    client = openai.OpenAI(
        base_url="http://hansom.invalid/v1",
        api_key="any",
        max_retries=0,
        http_client=httpx.Client(transport=httpx.MockTransport(answer)),
    )
    with pytest.raises(openai.APIStatusError) as raised:
        client.models.list()
    told = pages.rows(PAGE, "error")[kind.__name__][3]
    assert type(raised.value).__name__ == pages.bare(told)


def test_the_retry_header_is_sent_as_told():
    assert error_reply(Overloaded("full", retry_after_s=3)).headers["retry-after"] == "3"


def test_every_reason_code_is_told_and_none_that_is_gone():
    assert set(pages.rows(PAGE, "reason code")) == REASON_CODES


def test_the_reason_codes_beside_the_policys_are_those_of_the_pipeline():
    source = ast.parse(pages.text("deployments/gateway/pipeline.py"))
    texts = {node.value for node in ast.walk(source) if isinstance(node, ast.Constant)}
    assert {"cache_exact", "cache_semantic"} <= texts


def test_every_error_code_of_the_ledger_is_told_and_none_that_is_gone():
    of_errors = {
        code for cells in pages.rows(PAGE, "error").values() for code in pages.words(cells[2])
    }
    told = set(pages.rows("docs/ledger.md", "error code"))
    assert told == keyword_texts("error") - of_errors


def test_the_object_in_a_stream_has_the_fields_that_are_told():
    sent = closing_object(
        make_call(stream=True), SETTINGS.tiers[0], cache="miss", cost_usd_micros=1
    )
    assert set(pages.rows(PAGE, "field of `hansom`")) == set(sent)


@pytest.mark.parametrize("temperature", [0, 1], ids=["plain", "varied"])
@pytest.mark.parametrize("row", pages.rows(PAGE, "request says").items(), ids=lambda row: row[0])
def test_cache_directives_do_what_is_told(row: tuple[str, list[str]], temperature: float):
    says, (lookup, store) = row
    name, value = says.split(": ")
    asked = Parameters("auto", temperature=temperature)
    rule, without = eligible(asked, directives({name: value})), eligible(asked, Directives())
    assert rule.lookup is {"yes": True, "no": False, "as without it": without.lookup}[lookup]
    assert rule.store is {"yes": True, "no": False, "as without it": without.store}[store]


def test_the_finish_reasons_of_kept_answers_are_told():
    assert {f"`{reason}`" for reason in FINISHED} <= set(pages.text(PAGE).replace(",", " ").split())


def test_the_sources_that_are_read_here_are_there():
    assert {file.relative_to(pages.ROOT).parts[0] for file in SOURCES} == SERVED
    assert {"core", "wire", "accounts", "cache", "router", "ledger", "deployments"} <= SERVED
