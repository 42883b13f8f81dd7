"""EndpointSlices: which endpoints are called."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.discovery.slices import Slices
from entroute.errors import DiscoveryFailed
from tests.kubernetes_api import a_slice, endpoint


def url(address: str, port: int) -> str:
    return f"{address}:{port}"


def listed(*slices: dict[str, Any], port: int | str | None = None) -> Slices:
    known = Slices(port, url)
    assert known.listed({"items": list(slices), "metadata": {"resourceVersion": "7"}}) == "7"
    return known


@pytest.mark.parametrize(
    ("conditions", "called"),
    [
        ({"ready": True}, True),
        ({}, True),  # the API means yes where it does not say
        ({"ready": None}, True),
        ({"ready": False}, False),
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "terminating": True}, False),
    ],
)
def test_an_endpoint_is_called_while_it_is_ready(
    conditions: dict[str, bool | None], *, called: bool
) -> None:
    known = listed(a_slice("one", 8000, endpoint("10.0.0.1", **conditions)))
    assert known.urls == ({"10.0.0.1:8000"} if called else set())


@pytest.mark.parametrize(
    ("port", "urls"),
    [
        (None, {"10.0.0.1:8000", "10.0.0.2:9000"}),
        ("http", {"10.0.0.1:8000"}),
        ("metrics", {"10.0.0.2:9000"}),
        (9000, {"10.0.0.2:9000"}),
        (1, set()),
    ],
)
def test_the_port_is_the_wanted_one(port: int | str | None, urls: set[str]) -> None:
    one = a_slice("one", 8000, endpoint("10.0.0.1"))
    two = a_slice("two", 9000, endpoint("10.0.0.2"), port_name="metrics")
    assert listed(one, two, port=port).urls == urls


def test_events_change_add_and_take_away() -> None:
    known = listed(a_slice("one", 8000, endpoint("10.0.0.1")))
    known.changed({"type": "ADDED", "object": a_slice("two", 8000, endpoint("10.0.0.2"))})
    assert known.urls == {"10.0.0.1:8000", "10.0.0.2:8000"}
    known.changed({"type": "MODIFIED", "object": a_slice("one", 8000, endpoint("10.0.0.9"))})
    assert known.urls == {"10.0.0.9:8000", "10.0.0.2:8000"}
    known.changed({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}})
    known.changed({"type": "DELETED", "object": a_slice("two", 8000)})
    assert known.urls == {"10.0.0.9:8000"}


def test_an_event_too_old_begins_anew_and_another_error_is_a_failure() -> None:
    known = listed()
    assert known.gone({"type": "ERROR", "object": {"code": 410}})
    assert not known.gone({"type": "ADDED", "object": {}})
    with pytest.raises(DiscoveryFailed, match="etcd is away"):
        known.gone({"type": "ERROR", "object": {"code": 500, "message": "etcd is away"}})


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["items", "metadata", "name", "endpoints", "ports", "port", "object"])
            | st.sampled_from(["type", "addresses", "conditions", "resourceVersion", "code"]),
            inner,
            max_size=4,
        )
    ),
)


@given(json)
def test_whatever_is_told_only_a_failure_is_raised(told: Any) -> None:
    known = Slices(None, url)
    for take in (known.listed, known.gone, known.changed):
        with suppress(DiscoveryFailed):
            take(told)
    assert all(isinstance(one, str) for one in known.urls)
