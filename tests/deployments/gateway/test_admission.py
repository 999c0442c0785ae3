"""Admission: what is let in, and what each refusal says."""

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given

from core.call import Call, Endpoint, Lane, Risk
from core.errors import BadRequest, HansomError, Overloaded, UnknownModel
from deployments.gateway.admission import Admission, decode, request_id, risk, tenant
from tests.deployments.rig import settings_of

BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


def admit(body: object, headers: dict[str, str] | None = None) -> Call:
    raw = orjson.dumps(body)
    endpoint = Endpoint.CHAT
    return Admission(settings_of()).admit(endpoint, raw, headers or {}, "r-1", 5.0)


def test_a_call_carries_the_body_as_it_was_sent() -> None:
    body = BODY | {"seed": 7, "tools": [{"type": "function", "function": {"name": "f"}}]}
    call = admit(body, {"authorization": "Bearer secret", "x-hansom-risk": "high"})
    assert call.body == body
    assert (call.request_id, call.requested, call.arrived_s) == ("r-1", "auto", 5.0)
    assert (call.stream, call.include_usage, call.risk) == (False, False, Risk.HIGH)
    assert call.deadline_s == settings_of().limits.request_timeout_s


def test_calls_that_differ_by_explicit_nulls_only_are_one_call() -> None:
    asked = {"role": "user", "content": "Hello", "name": None}
    nulls = {"stream": None, "stream_options": None, "tools": None, "user": None, "seed": None}
    assert admit(BODY | {"messages": [asked]} | nulls).body == admit(BODY).body


@pytest.mark.parametrize("options", [None, {"include_usage": None}, {}])
def test_a_stream_whose_options_are_null_has_no_usage(options: object) -> None:
    call = admit(BODY | {"stream": True, "stream_options": options})
    assert (call.stream, call.include_usage) == (True, False)


def test_two_calls_never_share_an_id_even_if_the_client_gives_them_one() -> None:
    assert admit(BODY).call_id != admit(BODY).call_id


@pytest.mark.parametrize("name", ["auto", "small", "small-model", "large", "large-model"])
def test_auto_tiers_and_models_can_be_asked_for(name: str) -> None:
    assert admit(BODY | {"model": name}).requested == name


def test_an_unknown_model_is_told_which_ones_there_are() -> None:
    with pytest.raises(UnknownModel) as caught:
        admit(BODY | {"model": "gpt-4o"})
    assert caught.value.param == "model"
    assert caught.value.code == "model_not_found"
    for name in ("gpt-4o", "auto", "small", "small-model", "large", "large-model"):
        assert f"`{name}`" in caught.value.message


@pytest.mark.parametrize(
    ("options", "stream", "wanted"),
    [(None, True, False), ({}, True, False), ({"include_usage": True}, True, True)],
)
def test_usage_in_a_stream_is_as_the_client_asks(
    options: object, stream: bool, wanted: bool
) -> None:
    call = admit(BODY | {"stream": stream, "stream_options": options})
    assert (call.stream, call.include_usage) == (stream, wanted)


def test_stream_options_without_a_stream_are_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        admit(BODY | {"stream_options": {"include_usage": True}})
    assert caught.value.param == "stream_options"


def test_stream_options_that_are_all_null_ask_for_nothing() -> None:
    assert admit(BODY | {"stream_options": {"include_usage": None}}).stream is False


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"{'a': 1}", b"NaN", b'{"a": 1,}'])
def test_what_is_not_json_is_refused_with_the_place(raw: bytes) -> None:
    with pytest.raises(BadRequest, match=r"The body is not JSON: .+"):
        decode(raw)


@given(st.binary())
def test_no_body_raises_anything_but_a_refusal(raw: bytes) -> None:
    admission = Admission(settings_of())
    for endpoint in Endpoint:
        with pytest.raises(HansomError):
            admission.admit(endpoint, raw, {}, "r-1", 0.0)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_a_tenant_is_a_hash_that_does_not_show_its_key(key: str) -> None:
    found = tenant({"authorization": f"Bearer {key}"})
    assert found.startswith("key-")
    assert len(found) == 20
    assert found == tenant({"authorization": f"bearer  {key} "})
    assert key not in found or len(key) < 4


def test_two_keys_are_two_tenants() -> None:
    assert tenant({"authorization": "Bearer a"}) != tenant({"authorization": "Bearer b"})


def test_without_a_key_a_caller_is_anonymous() -> None:
    assert tenant({}) == "anonymous"


@pytest.mark.parametrize("value", ["High", "low", ""])
def test_an_unknown_risk_is_refused_and_told_what_is_allowed(value: str) -> None:
    with pytest.raises(BadRequest, match="one of normal, high") as caught:
        risk({"x-hansom-risk": value})
    assert caught.value.param == "x-hansom-risk"


def test_a_call_is_interactive_unless_its_header_says_batch() -> None:
    assert admit(BODY).lane is Lane.INTERACTIVE
    assert admit(BODY, {"x-hansom-lane": "interactive"}).lane is Lane.INTERACTIVE
    assert admit(BODY, {"x-hansom-lane": "batch"}).lane is Lane.BATCH


@pytest.mark.parametrize("value", ["Batch", "slow", ""])
def test_an_unknown_lane_is_refused_and_told_what_is_allowed(value: str) -> None:
    with pytest.raises(BadRequest, match="one of interactive, batch") as caught:
        admit(BODY, {"x-hansom-lane": value})
    assert caught.value.param == "x-hansom-lane"


def test_batch_calls_leave_half_of_the_places_to_others() -> None:
    admission = Admission(settings_of(limits={"max_in_flight": 4}))
    admission.enter(batch=True)
    admission.enter(batch=True)
    with pytest.raises(Overloaded, match="2 requests of the batch lane"):
        admission.enter(batch=True)
    admission.enter()
    admission.enter()
    with pytest.raises(Overloaded, match="4 requests are in flight"):
        admission.enter()
    admission.leave(batch=True)
    admission.enter(batch=True)


def test_a_request_without_an_id_gets_a_new_one() -> None:
    assert request_id({"x-request-id": "mine"}) == "mine"
    assert request_id({}) != request_id({})


def test_no_more_requests_are_in_flight_than_the_limit() -> None:
    admission = Admission(settings_of(limits={"max_in_flight": 2, "retry_after_s": 9}))
    admission.enter()
    admission.enter()
    with pytest.raises(Overloaded, match="2 requests are in flight") as caught:
        admission.enter()
    assert caught.value.retry_after_s == 9
    admission.leave()
    admission.enter()
    assert admission.in_flight == 2
