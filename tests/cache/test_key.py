from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from entroute.cache.key import (
    NOT_IN_KEY,
    OPTIONS_NOT_IN_KEY,
    cache_key,
    cacheable,
    reads,
    worth_storing,
)
from entroute.evidence import Outcome
from entroute.types import EMPTY, ChatRequest, Options, Principal
from tests.cache.samples import objects, options, outcome, principals, requests, texts, values

ASKED = ChatRequest("auto", ({"role": "user", "content": "6*7?"},), temperature=0.0)


def key(
    request: ChatRequest = ASKED,
    chosen: Options | None = None,
    who: Principal | None = None,
    *,
    models: tuple[str, ...] = ("s", "l"),
    fingerprint: str = "f",
    across_tenants: bool = False,
) -> str:
    return cache_key(
        request,
        chosen or Options(),
        who or Principal(),
        models=models,
        fingerprint=fingerprint,
        across_tenants=across_tenants,
    )


def names(value: Any) -> list[str]:
    return [field.name for field in fields(value)]


@given(requests, requests, st.sampled_from(names(ChatRequest("m"))))
def test_keys_differ_when_any_field_of_the_request_differs(
    one: ChatRequest, other: ChatRequest, field: str
) -> None:
    assume(not NOT_IN_KEY & (one.extra.keys() | other.extra.keys()))
    changed = replace(one, **{field: getattr(other, field)})
    assume(changed != one)
    assert key(changed) != key(one)


@given(requests, st.sampled_from(sorted(NOT_IN_KEY)), values)
def test_keys_are_equal_when_only_harmless_fields_differ(
    request: ChatRequest, name: str, value: Any
) -> None:
    assert key(replace(request, extra={**request.extra, name: value})) == key(request)


@given(requests, texts, values)
def test_an_unknown_field_is_in_the_key(request: ChatRequest, name: str, value: Any) -> None:
    assume(name not in NOT_IN_KEY and name not in request.extra)
    assert key(replace(request, extra={**request.extra, name: value})) != key(request)


@given(options, options, st.sampled_from(names(Options())))
def test_options_are_in_the_key_unless_they_cannot_change_an_answer(
    one: Options, other: Options, field: str
) -> None:
    changed = replace(one, **{field: getattr(other, field)})
    assume(changed != one)
    assert (key(chosen=changed) == key(chosen=one)) is (field in OPTIONS_NOT_IN_KEY)


@given(principals, principals)
def test_tenants_and_rights_never_share_an_answer(one: Principal, other: Principal) -> None:
    assert (key(who=one) == key(who=other)) is (one == other)


@given(principals, principals)
def test_across_tenants_the_tenant_and_only_the_tenant_is_left_out(
    one: Principal, other: Principal
) -> None:
    same = replace(one, tenant=other.tenant) == other
    keys = {key(who=who, across_tenants=True) for who in (one, other)}
    assert (len(keys) == 1) is same


@given(principals, texts)
def test_no_answer_that_tenants_share_is_one_that_they_do_not(who: Principal, other: str) -> None:
    shared = key(who=replace(who, tenant=other), across_tenants=True)
    assert shared == key(who=who, across_tenants=True)
    assert shared != key(who=who)


def test_models_their_order_and_the_policy_are_in_the_key() -> None:
    made = {
        key(),
        key(models=("l", "s")),
        key(models=("s",)),
        key(models=("s", "l2")),
        key(fingerprint="g"),
    }
    assert len(made) == 5


@given(objects)
def test_the_order_of_fields_does_not_matter(extra: dict[str, Any]) -> None:
    backwards = dict(reversed(extra.items()))
    assert key(replace(ASKED, extra=backwards)) == key(replace(ASKED, extra=extra))


def test_an_empty_extra_is_an_empty_extra_however_it_is_held() -> None:
    assert key(replace(ASKED, extra={})) == key(replace(ASKED, extra=EMPTY))


def test_a_missing_and_a_null_content_differ() -> None:
    missing = replace(ASKED, messages=({"role": "assistant"},))
    null = replace(ASKED, messages=({"role": "assistant", "content": None},))
    assert key(missing) != key(null)


def test_a_key_is_64_hexadecimal_digits_and_the_same_in_every_process() -> None:
    assert len(key()) == 64
    int(key(), 16)
    two = Principal(tiers=frozenset({"small", "large"}))
    assert key(who=two) == key(who=Principal(tiers=frozenset(["large", "small"])))


def test_what_json_cannot_say_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match="complex"):
        key(replace(ASKED, extra={"odd": 1j}))


@pytest.mark.parametrize(
    ("temperature", "seed", "mode"),
    [
        (0.0, None, "default"),
        (0, None, "refresh"),
        (0.7, 5, "default"),
        (None, 0, "default"),
        (0.7, None, "force"),
        (None, None, "force"),
    ],
)
def test_greedy_seeded_and_forced_requests_are_cacheable(
    temperature: float | None, seed: int | None, mode: Any
) -> None:
    assert cacheable(replace(ASKED, temperature=temperature, seed=seed), Options(cache=mode))


@pytest.mark.parametrize(
    ("temperature", "seed", "mode"),
    [
        (None, None, "default"),
        (0.7, None, "default"),
        (0.7, None, "refresh"),
        (0.0, 5, "bypass"),
    ],
)
def test_sampled_requests_and_those_that_bypass_are_not_cacheable(
    temperature: float | None, seed: int | None, mode: Any
) -> None:
    assert not cacheable(replace(ASKED, temperature=temperature, seed=seed), Options(cache=mode))


@pytest.mark.parametrize("mode", ["default", "refresh", "force", "bypass"])
def test_sampled_requests_are_cacheable_where_the_operator_says_so(mode: Any) -> None:
    warm = replace(ASKED, temperature=None, seed=None)
    assert cacheable(warm, Options(cache=mode), sampled=True) is (mode != "bypass")


def test_default_and_force_read_but_refresh_and_bypass_do_not() -> None:
    modes: list[Any] = ["default", "force", "refresh", "bypass"]
    assert [reads(Options(cache=mode)) for mode in modes] == [True, True, False, False]


@pytest.mark.parametrize("reason", ["settled", "confident", "verified", "exhausted", "escalated"])
def test_a_whole_outcome_is_worth_storing(reason: Any) -> None:
    assert worth_storing(replace(outcome(), stop_reason=reason), [])


@pytest.mark.parametrize(
    ("flawed", "degraded"),
    [
        (replace(outcome(), stop_reason="budget"), []),
        (replace(outcome(), stop_reason="deadline"), []),
        (replace(outcome(), failures=("worker w: reset",)), []),
        (replace(outcome(), degraded=("verifier",)), []),
        (outcome(), ["large"]),
        (replace(outcome(), repeatable=False), []),
    ],
)
def test_a_flawed_outcome_is_not_worth_storing(flawed: Outcome, degraded: list[str]) -> None:
    assert not worth_storing(flawed, degraded)
