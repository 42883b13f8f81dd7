"""EndpointSlices as their API tells them: which addresses may be called."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from entroute.backends.discovery.finding import Found
from entroute.errors import DiscoveryFailed

_GONE = 410
_SHAPE = (AttributeError, KeyError, TypeError, ValueError)


class Slices:
    """The EndpointSlices of one service.

    Args:
        port: Wanted port by number or name, None for the first.
        url: Makes the base URL of an address and a port.
    """

    def __init__(self, port: int | str | None, url: Callable[[str, int], str]) -> None:
        self._port = port
        self._url = url
        self._slices: dict[str, frozenset[str]] = {}

    @property
    def urls(self) -> Found:
        """Base URLs of all endpoints that are ready."""
        return frozenset().union(*self._slices.values())

    def listed(self, answer: Any) -> str:
        """Take a whole list; return the version to watch from.

        Raises:
            DiscoveryFailed: It is no list of EndpointSlices.
        """
        try:
            self._slices = {s["metadata"]["name"]: self._ready(s) for s in answer["items"] or ()}
            return str(answer["metadata"]["resourceVersion"])
        except _SHAPE as error:
            raise _odd(error) from error

    def gone(self, event: Any) -> bool:
        """Whether an event says that the watch must begin with a new list.

        Raises:
            DiscoveryFailed: It says that the watch failed in another way.
        """
        try:
            if event["type"] != "ERROR":
                return False
            status = event["object"]
            if status.get("code") == _GONE:
                return True
            raise DiscoveryFailed(f"the watch ended: {status.get('message')}")
        except _SHAPE as error:
            raise _odd(error) from error

    def changed(self, event: Any) -> None:
        """Take one event of a watch.

        Raises:
            DiscoveryFailed: It is none of EndpointSlices.
        """
        try:
            kind, slice_ = event["type"], event["object"]
            if kind == "DELETED":
                self._slices.pop(slice_["metadata"]["name"], None)
            elif kind in {"ADDED", "MODIFIED"}:
                self._slices[slice_["metadata"]["name"]] = self._ready(slice_)
        except _SHAPE as error:
            raise _odd(error) from error

    def _ready(self, slice_: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(
            self._url(str(address), port)
            for port in self._ports(slice_)
            for endpoint in slice_.get("endpoints") or ()
            if _takes_calls(endpoint.get("conditions") or {})
            for address in endpoint["addresses"]
        )

    def _ports(self, slice_: Mapping[str, Any]) -> Iterator[int]:
        """Yield the one port of a slice that is wanted, if it has it."""
        for told in slice_.get("ports") or ():
            if self._port is None or self._port in {told.get("port"), told.get("name")}:
                yield int(told["port"])
                return


def _takes_calls(conditions: Mapping[str, Any]) -> bool:
    """Whether an endpoint takes new calls; the API means yes where it says nothing of `ready`."""
    return conditions.get("ready") is not False and not conditions.get("terminating")


def _odd(error: Exception) -> DiscoveryFailed:
    return DiscoveryFailed(f"no EndpointSlices: {type(error).__name__} {error}")
