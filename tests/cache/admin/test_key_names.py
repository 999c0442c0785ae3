"""Names of keys, read back from what the cache writes."""

import pytest
from redis import Redis

from cache.admin.key_names import KeyKind, owner_tag, parted, pattern, read
from cache.error_budget.redis_budget import budget_key
from cache.exact.key import exact_key, owner
from cache.exact.redis_store import tag_key
from cache.scope import scope_key
from cache.semantic.entries import entry_key, near_key

OWNER = owner("tenant", tenant="t", team="", key="")
EXACT = exact_key({"n": 1}, endpoint="chat", tenant=OWNER, policy_version="1")
SCOPE = scope_key({"n": 1}, endpoint="chat", tenant=OWNER, policy_version="1")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (EXACT, KeyKind.ANSWER),
        (entry_key(SCOPE, "0f" * 8), KeyKind.ENTRY),
        (near_key(SCOPE), KeyKind.SCOPE),
        (tag_key(EXACT, "a:b}c\n"), KeyKind.TAG),
        (budget_key(owner_tag(OWNER), "law"), KeyKind.BUDGET),
    ],
)
def test_every_key_of_the_cache_tells_its_kind_and_its_owner(key: str, kind: KeyKind):
    name = read(key.encode())
    assert name is not None
    assert (name.kind, name.owner) == (kind, owner_tag(OWNER))
    assert key.startswith(kind.prefix)


@pytest.mark.parametrize(
    "key", [b"hansom:ledger", b"hansom:flight:{0123456789abcdef}:x", b"x", b""]
)
def test_other_keys_are_none_of_them(key: bytes):
    assert read(key) is None


def test_an_entry_tells_what_its_scopes_others_share_and_nothing_else_does():
    assert parted(entry_key(SCOPE, "0f" * 8)) == (entry_key(SCOPE, ""), "0f" * 8)
    assert parted(EXACT) is None


def test_a_set_tells_its_scope():
    name = read(near_key(SCOPE).encode())
    assert name is not None and name.scope_key == SCOPE


@pytest.mark.redis
def test_a_pattern_means_its_tag_to_the_letter_and_its_owner(redis_url: str):
    tags = ["a*", "ab", "a[b]", "a?", "x}:a*"]
    other = exact_key({}, endpoint="chat", tenant="other", policy_version="1")
    with Redis.from_url(redis_url) as redis:
        for tag in tags:
            redis.sadd(tag_key(EXACT, tag), "x")
            redis.sadd(tag_key(other, tag), "x")
        for tag in tags:
            own = set(redis.scan_iter(pattern(KeyKind.TAG, owner_tag(OWNER), tag)))
            assert own == {tag_key(EXACT, tag).encode()}
            found = set(redis.scan_iter(pattern(KeyKind.TAG, None, tag)))
            assert found == {tag_key(key, tag).encode() for key in (EXACT, other)}
