"""A credential names its tenant wherever it stands, and is never read as none."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.credential import credential, received, refuse_in_query
from accounts.payer import tenant
from core.errors import BadRequest, HansomError, InvalidKey

SECRET = "sk-Very.Secret_1/+="
ALONE = [
    "api-key", "x-api-key", "x-goog-api-key", "x-litellm-api-key", "openai-api-key", "apikey",
    "x_api_key", "ocp-apim-subscription-key", "x-auth-token",
]  # fmt: skip
EVERYWHERE = [("authorization", f"Bearer {SECRET}"), *((name, SECRET) for name in ALONE)]
LATIN = st.text(st.characters(max_codepoint=255))
TOKEN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@pytest.mark.parametrize(("name", "value"), EVERYWHERE)
def test_a_secret_is_the_same_tenant_in_every_header(name: str, value: str) -> None:
    assert credential({name: value, "accept": "*/*"}) == SECRET
    hashed = hashlib.sha256(SECRET.encode()).hexdigest()[:16]
    assert tenant({name: f" {value}\t"}) == f"key-{hashed}"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    assert credential({"authorization": f"{scheme}  {SECRET}"}) == SECRET


@given(TOKEN, TOKEN)
def test_two_secrets_are_two_tenants_and_one_is_one(one: str, other: str) -> None:
    first, second = tenant({"api-key": one}), tenant({"authorization": f"Bearer {other}"})
    assert (first == second) is (one == other)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer \t"},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": SECRET},
        {"authorization": f"Bearer: {SECRET}"},
        {"authorization": f"Bearer {SECRET} more"},
        {"authorization": f"Bearer {SECRET}, Bearer other"},
        {"authorization": f"Token {SECRET}"},
        {"authorization": "Bearer s\xe9cret"},
        {"authorization": "Bearer sec\x00ret"},
        {"authorization": "Bearer sec\x7fret"},
        {"authorization": "Bearer\xa0secret"},
        {"api-key": ""},
        {"api-key": "  "},
        {"x-api-key": f"Bearer {SECRET}"},
        {"x-api-key": "s\xe9cret"},
        {"x-goog-api-key": "a\x01b"},
        {"authorization": f"Bearer {SECRET}", "x-api-key": ""},
    ],
)
def test_what_cannot_be_read_is_refused_and_not_repeated(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidKey, match="Authorization: Bearer <key>") as refused:
        credential(headers)
    assert refused.value.code == "invalid_api_key"
    assert not [word for word in ("ecret", SECRET, "dXNl") if word in refused.value.message]


def test_two_credentials_are_refused_unless_they_are_the_same() -> None:
    both = {"authorization": f"Bearer {SECRET}", "x-api-key": SECRET}
    assert credential(both) == SECRET
    with pytest.raises(BadRequest, match="Two different credentials") as refused:
        credential(both | {"api-key": "another"})
    assert "another" not in refused.value.message
    assert SECRET not in refused.value.message


@pytest.mark.parametrize(
    "headers",
    [{}, {"cookie": f"api-key={SECRET}"}, {"idempotency-key": "1"}, {"openai-organization": "org"}],
)
def test_without_a_credential_there_is_none(headers: dict[str, str]) -> None:
    assert credential(headers) == ""
    assert tenant(headers) == "anonymous"


@given(st.dictionaries(st.sampled_from(["authorization", *ALONE]), LATIN, min_size=1))
def test_a_credential_that_was_sent_is_never_anonymous(headers: dict[str, str]) -> None:
    try:
        assert tenant(headers).startswith("key-")
    except HansomError as refused:
        assert refused.status in (400, 401)


def test_a_header_that_comes_twice_is_read_as_http_has_it() -> None:
    pairs = [(b"cache-control", b"no-store"), (b"x-a", b"1"), (b"cache-control", b"max-age=3")]
    assert received(pairs) == {"cache-control": "no-store, max-age=3", "x-a": "1"}
    twice = [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")]
    assert credential(received(twice)) == "a"
    with pytest.raises(InvalidKey):
        credential(received([*twice, (b"authorization", b"Bearer b")]))
    with pytest.raises(InvalidKey):
        credential(received([(b"x-api-key", b"a"), (b"x-api-key", b"b")]))


@pytest.mark.parametrize(
    "query",
    [
        "api-key=s",
        "a=1&API_KEY=s",
        "key=s",
        "access_token=s",
        "x-api-key",
        "api%2Dkey=s",
        "apikey=",
    ],
)
def test_a_credential_in_the_address_is_refused(query: str) -> None:
    with pytest.raises(InvalidKey, match="addresses are logged"):
        refuse_in_query(query.encode())


@pytest.mark.parametrize("query", ["", "api-version=2024-10-21", "beta=true&keys=1", "%ff=%ff"])
def test_other_queries_are_none_of_its_business(query: str) -> None:
    refuse_in_query(query.encode())
