"""How urgent a request is: what its key allows, and what it asks for."""

from dataclasses import replace

from entroute.errors import PermissionDenied
from entroute.priorities import Priority, above
from entroute.types import Options, Principal

_WANTED: dict[str, Priority] = {"flex": "low", "priority": "high"}
_SERVED: dict[Priority, str] = {"low": "flex", "normal": "default", "high": "priority"}


def with_priority(options: Options, principal: Principal, service_tier: str | None) -> Options:
    """Return a request's options with the priority that it has.

    Without keys every priority may be asked for. OpenAI's `service_tier` is a wish: one that the
    key does not allow, or that means nothing here, leaves the key's own.

    Args:
        options: As the client sent them.
        principal: Who asks.
        service_tier: OpenAI's field, None where it was left out.

    Raises:
        PermissionDenied: The option asks for more than the key allows.
    """
    highest = principal.priority if principal.key else "high"
    asked = options.priority
    if asked is not None and above(asked, highest):
        raise PermissionDenied(
            f"Your key may ask for priority '{highest}' at most.", param="entroute.priority"
        )
    wished = _WANTED.get(service_tier or "")
    if asked is None and wished is not None and not above(wished, highest):
        asked = wished
    return replace(options, priority=asked or principal.priority)


def served_tier(options: Options, service_tier: str | None) -> str | None:
    """Return OpenAI's name of the tier that served a request; None where it asked for none."""
    return None if service_tier is None else _SERVED[options.priority or "normal"]
