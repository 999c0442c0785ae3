"""Who pays: what a key's record says cannot be changed by what a caller sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.keys import new_key
from accounts.payer import ANONYMOUS, tenant, with_key, without_key, words
from core.errors import BadRequest, InvalidKey

KEY, _ = new_key("acme", 0.0, team="red", tags=("web",))
TEAMLESS, _ = new_key("acme", 0.0)
WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["x-hansom-team", "x-hansom-tenant", "x-hansom-key", "x-hansom-domain", "user", "cookie"]
    ),
    WORD,
)


@given(HEADERS)
def test_no_header_changes_the_tenant_team_or_id_of_a_key(headers: dict[str, str]) -> None:
    payer = with_key(KEY, headers)
    assert (payer.tenant, payer.team, payer.key, payer.record) == ("acme", "red", KEY.id, KEY)
    assert payer.tags == ("web",)


def test_headers_may_add_tags_and_name_the_team_of_a_key_that_has_none() -> None:
    headers = {"x-hansom-team": "blue", "x-hansom-tags": "b, a,web"}
    assert with_key(KEY, headers).tags == ("a", "b", "web")
    assert with_key(TEAMLESS, headers).team == "blue"


@given(WORD)
def test_a_token_that_is_no_key_is_a_tenant_of_its_own(token: str) -> None:
    payer = without_key({"authorization": f"Bearer {token}", "x-hansom-team": "red"})
    assert payer.tenant == payer.key == tenant({"authorization": f"bearer  {token} "})
    assert payer.tenant.startswith("key-")
    assert (payer.team, payer.record) == ("red", None)


def test_without_a_credential_a_caller_is_anonymous() -> None:
    assert without_key({"x-hansom-team": "red"}).tenant == ANONYMOUS


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer  ", "Basic abc"])
def test_a_credential_that_cannot_be_read_is_nobodys(value: str) -> None:
    with pytest.raises(InvalidKey):
        without_key({"authorization": value})


@pytest.mark.parametrize("value", [",".join("abcdefghijklmnopq"), "x" * 101])
def test_too_many_or_too_long_tags_are_refused(value: str) -> None:
    for payer in (without_key, lambda headers: with_key(KEY, headers)):
        with pytest.raises(BadRequest, match="16 tags of 100 characters") as caught:
            payer({"x-hansom-tags": value})
        assert caught.value.param == "x-hansom-tags"


def test_words_are_told_once_and_in_order() -> None:
    assert words({"x": " b,a ,, b"}, "x") == ("a", "b")
