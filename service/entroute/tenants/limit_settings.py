"""The limits of one API key, over all its requests and all gateways."""

from pydantic import BaseModel, ConfigDict, Field

from entroute.spending import RateLimits


class KeyLimits(BaseModel):
    """What one key may use a minute and a calendar month (UTC); unlimited where left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: int | None = Field(default=None, ge=1, description="Requests a minute.")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Prompt and completion tokens of all calls, a minute."
    )
    cost_per_minute_usd: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Dollars a minute."
    )
    requests_per_month: int | None = Field(default=None, ge=1, description="Requests a month.")
    tokens_per_month: int | None = Field(
        default=None, ge=1, description="Prompt and completion tokens of all calls, a month."
    )
    cost_per_month_usd: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Dollars a month."
    )

    def build(self) -> RateLimits:
        """Return the limits in the walk's terms."""
        return RateLimits(**self.model_dump())
