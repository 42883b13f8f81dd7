"""Units, colours and thresholds that mean the same on every dashboard."""

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

REQUESTS = "reqps"
TOKENS = "suffix: tok/s"
EVENTS = "suffix: /s"
SECONDS = "s"
DOLLARS = "currencyUSD"
SHARE = "percentunit"
NUMBER = "short"
NATS = "suffix: nats"

GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"
BLUE, PURPLE, GREY = "blue", "purple", "text"

Colours = tuple[tuple[str, str], ...]
"""What series are named, as regular expressions of the whole name, and their colours."""

Steps = tuple[tuple[float, str], ...]
"""Values from which on a colour holds, rising."""

OUTCOMES: Colours = (
    (r"(ok|finished|accepted|hit|kept|found|won|loaded|applied)", GREEN),
    (r"(server_error|failed|unavailable|refused|full|timeout|damaged)", RED),
    (r"(client_error|budget|guarded|no_room|displaced)", YELLOW),
    (r"(cancelled|miss|unchanged|ineligible|lost)", GREY),
)


@dataclass(frozen=True, slots=True)
class Look:
    """How a panel shows its values.

    Attributes:
        stacked: Whether series are piled up, as they are or as shares of 1.
        colours: Colours of series that mean the same everywhere.
        steps: Where a value becomes bad, in the panel's unit.
        below: The colour below the first step.
        least: Lower end of the axis in the panel's unit, None to follow the data.
        most: Upper end of the axis in the panel's unit, None to follow the data.
        empty: What stands there when nothing was measured.
        decimals: Digits after the point, None to let Grafana choose.
    """

    stacked: Literal["none", "normal", "percent"] = "none"
    colours: Colours = ()
    steps: Steps = ()
    below: str = GREEN
    least: float | None = 0
    most: float | None = None
    empty: str = "nothing measured"
    decimals: int | None = None


PLAIN = Look()
PILED = Look(stacked="normal")
SHARES = Look(stacked="percent", most=1)


def thresholds(look: Look) -> dashboard.ThresholdsConfig:
    """Return where a panel's values change their colour."""
    levels = [models.Threshold(value=None, color=look.below if look.steps else BLUE)]
    levels += [models.Threshold(value=value, color=colour) for value, colour in look.steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(levels)


def overrides(
    colours: Colours,
) -> list[Builder[models.DashboardFieldConfigSourceOverrides]]:
    """Return the overrides that paint series by their names."""
    return [
        dashboard.DashboardFieldConfigSourceOverrides()
        .matcher(models.MatcherConfig(id_val="byRegexp", options=names))
        .properties([models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})])
        for names, colour in colours
    ]
