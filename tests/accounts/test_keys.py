"""Virtual keys: a secret is told once, its hash is all that is kept, and time ends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.keys import Key, Secret, hashed, is_virtual, new_key, revoked, rotated, well_formed
from core.settings.accounts import BudgetLimit, Rules

NOW_S = 1_800_000_000.0
RULES = Rules(budgets=(BudgetLimit.read("1.5 USD/day", "hard"),), concurrency=3)


def test_a_secret_has_256_bits_and_no_two_are_alike() -> None:
    made = [new_key("acme", NOW_S)[1] for _ in range(200)]
    assert len(set(made)) == 200
    assert all(well_formed(one) and is_virtual(one) and len(one) == 46 for one in made)
    # Every one of the 64 characters turns up somewhere: nothing fixed but the prefix.
    assert len({char for one in made for char in one[3:-1]}) == 64


@pytest.mark.parametrize("token", ["hk-", "hk-short", "sk-" + "a" * 43, "hk-" + "!" * 43, ""])
def test_what_cannot_be_a_secret_need_not_be_looked_up(token: str) -> None:
    assert not well_formed(token)


def test_a_record_holds_the_hash_and_never_the_secret() -> None:
    key, secret = new_key("acme", NOW_S, name="ci", team="red", tags=("b", "a", "b"), rules=RULES)
    raw = key.to_bytes()
    assert secret.encode() not in raw
    assert secret[3:].encode() not in raw
    assert hashed(secret).encode() in raw
    assert (key.tags, key.state) == (("a", "b"), "active")


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.none() | st.floats(0, 4e9)


@given(WORDS, WORDS, st.lists(WORDS), TIMES, TIMES, st.lists(st.builds(Secret, WORDS, TIMES)))
def test_a_record_comes_back_as_it_was_and_writes_the_same_bytes(
    tenant: str, name: str, tags: list[str], expires: float | None, gone: float | None,
    kept: list[Secret],
) -> None:  # fmt: skip
    key = Key("key_1", tenant, name, "", tuple(tags), NOW_S, expires, gone, RULES, tuple(kept))
    again = Key.from_bytes(key.to_bytes())
    assert again == key
    assert again.to_bytes() == key.to_bytes()


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"id":"a","tenant":"t","rules":{"x":1}}'])
def test_what_is_no_record_is_said(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a key's record"):
        Key.from_bytes(raw)


def test_a_secret_works_until_its_key_expires_or_is_revoked() -> None:
    key, secret = new_key("acme", NOW_S, expires_s=NOW_S + 10)
    assert key.refusal(hashed(secret), NOW_S + 9.9) == ""
    assert key.refusal(hashed(secret), NOW_S + 10) == "has expired"
    gone = revoked(key, NOW_S + 5)
    assert gone.refusal(hashed(secret), NOW_S + 5) == "was revoked"
    assert revoked(gone, NOW_S + 9) == gone
    assert key.refusal(hashed("hk-other"), NOW_S) == "is not known"


def test_a_rotated_key_is_the_same_key_with_another_secret() -> None:
    key, old = new_key("acme", NOW_S, rules=RULES)
    after, new = rotated(key, NOW_S + 100)
    assert (after.id, after.rules, after.tenant) == (key.id, key.rules, key.tenant)
    assert after.refusal(hashed(new), NOW_S + 100) == ""
    assert after.refusal(hashed(old), NOW_S + 100) == "is not known"
    assert len(after.secrets) == 1


def test_an_old_secret_works_for_its_grace_and_a_second_rotation_never_lengthens_it() -> None:
    key, old = new_key("acme", NOW_S)
    once, middle = rotated(key, NOW_S, 60)
    twice, new = rotated(once, NOW_S + 30, 600)
    for after in (once, twice):
        assert after.refusal(hashed(old), NOW_S + 59) == ""
        assert after.refusal(hashed(old), NOW_S + 60) == "was replaced by a newer one"
    assert twice.refusal(hashed(middle), NOW_S + 629) == ""
    assert twice.refusal(hashed(middle), NOW_S + 630) == "was replaced by a newer one"
    assert twice.refusal(hashed(new), NOW_S + 1e9) == ""
    cleared, _ = rotated(twice, NOW_S + 1000)
    assert len(cleared.secrets) == 1
