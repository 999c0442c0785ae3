"""Which cache rules hold for a request."""

from hypothesis import given
from hypothesis import strategies as st

from core.settings.cache import CacheClass, CacheRules, CacheSettings

WORD = st.none() | st.booleans()
CLASSES = st.builds(
    CacheClass, exact=WORD, sampled=WORD, tool_calls=WORD, ttl_s=st.none() | st.integers(1, 9999)
)


def test_without_classes_the_settings_hold() -> None:
    settings = CacheSettings(sampled=True, ttl_s=7)
    assert settings.rules("acme", "law") == CacheRules(sampled=True, ttl_s=7)


def test_a_domain_may_allow_what_the_settings_do_not() -> None:
    settings = CacheSettings(domains={"faq": CacheClass(sampled=True, ttl_s=99)})
    assert settings.rules("acme", "faq") == CacheRules(sampled=True, ttl_s=99)
    assert settings.rules("acme", "other") == CacheRules()


@given(CLASSES, CLASSES)
def test_a_refusal_of_either_wins_and_the_shorter_time_holds(
    tenant: CacheClass, domain: CacheClass
) -> None:
    settings = CacheSettings(tenants={"acme": tenant}, domains={"law": domain})
    found = settings.rules("acme", "law")
    for one in (tenant, domain):
        for name in ("exact", "sampled", "tool_calls"):
            assert not (getattr(one, name) is False and getattr(found, name))
        assert one.ttl_s is None or found.ttl_s <= one.ttl_s
