"""Salts of prefix caches: one a tenant, the same on every gateway, for vLLM alone."""

import string

import pytest

from entroute.backends.salting import TenantSalts, salted
from entroute.cache.key import cache_key
from entroute.types import ChatRequest, Options, Principal

SECRET = "a secret of the operator's"


def test_a_tenant_has_one_salt_and_no_two_share_it():
    salts = TenantSalts(SECRET)
    assert salts("a") == TenantSalts(SECRET)("a")
    assert len({salts(tenant) for tenant in ("a", "b", "", "A", "a ")}) == 5
    assert all(set(salts(tenant)) <= set(string.hexdigits) for tenant in "ab")


def test_a_key_hides_how_salts_are_made():
    assert len({TenantSalts(key)("a") for key in ("", SECRET, SECRET + "x")}) == 3


def test_a_salt_does_not_tell_its_tenant():
    assert "acme" not in TenantSalts()("acme")


def test_vllm_gets_the_salt():
    assert salted({"model": "m"}, "s1", "vllm") == {"model": "m", "cache_salt": "s1"}


@pytest.mark.parametrize("engine", ["llamacpp", "", "somebody"])
def test_other_engines_do_not(engine: str):
    assert salted({"model": "m"}, "s1", engine) == {"model": "m"}


def test_nothing_is_added_without_tenants():
    assert salted({"cache_salt": "own"}, "", "vllm") == {"cache_salt": "own"}


def test_a_client_s_own_salt_separates_further_and_never_less():
    made = {
        salted({"cache_salt": own}, salt, "vllm")["cache_salt"]
        for own in ("x", "y", "s1", "s2")
        for salt in ("s1", "s2")
    }
    assert len(made) == 8
    assert not made & {"x", "y", "s1", "s2"}


def test_a_salt_is_no_part_of_the_exact_key():
    def key(**extra: str) -> str:
        return cache_key(
            ChatRequest("small", prompt="x", extra=extra),
            Options(),
            Principal(),
            models=("small=m",),
            fingerprint="f",
        )

    assert key(cache_salt="x") == key(cache_salt="y") == key()
