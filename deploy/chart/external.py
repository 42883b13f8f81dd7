"""Values of workers that run elsewhere."""

from typing import Annotated

from pydantic import Field

from deploy.chart.base import Part, SecretKey
from deploy.chart.service import Discovery

Url = Annotated[str, Field(pattern=r"^https?://[^@?#\s]+$")]


class External(Part):
    """Workers that run elsewhere: give `urls` or `discover`."""

    urls: list[Url] = Field(default=[], description="Base URLs, ending in `/v1`.")
    discover: Discovery = Field(
        default={},
        description="How they are found, in place of `urls`: the service's own settings.",
    )
    api_key: SecretKey = Field(
        default=SecretKey(key="api-key"), description="Bearer key that all of them ask for."
    )
