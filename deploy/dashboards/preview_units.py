"""Numbers as Grafana writes them, for the units that the dashboards use."""

from collections.abc import Callable, Mapping

_TIMES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"))
_LARGE = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
_EXACT = 1000
"""From here on numbers are told in thousands."""


def told(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a number with its unit; `decimals` None leaves three digits that count."""
    if unit.startswith("suffix:"):
        return f"{_short(value, decimals)}{unit.removeprefix('suffix:')}"
    return _UNITS.get(unit, _short)(value, decimals)


def _short(value: float, decimals: int | None) -> str:
    if abs(value) >= _EXACT:
        size, letter = next(each for each in _LARGE[::-1] if abs(value) < each[0] * 1e3)
        return f"{value / size:.3g}{letter}"
    return f"{value:.{decimals}f}" if decimals is not None else f"{value:.3g}"


def _share(value: float, decimals: int | None) -> str:
    return f"{100 * value:.{decimals}f}%" if decimals is not None else f"{100 * value:.3g}%"


def _dollars(value: float, decimals: int | None) -> str:
    return f"${_short(value, decimals)}"


def _requests(value: float, decimals: int | None) -> str:
    return f"{_short(value, decimals)} req/s"


def _time(value: float, decimals: int | None) -> str:
    if value == 0:
        return "0 s"
    size, name = next((each for each in _TIMES if abs(value) >= each[0]), _TIMES[-1])
    return f"{_short(value / size, decimals)} {name}"


_UNITS: Mapping[str, Callable[[float, int | None], str]] = {
    "percentunit": _share,
    "currencyUSD": _dollars,
    "reqps": _requests,
    "s": _time,
}
