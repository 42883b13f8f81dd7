"""Beside the walk: outcome labels of clients correct the profile's predictions."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.errors import ConfigurationError
from entroute.feedback.decided import DecidedMemory
from entroute.feedback.feedback import Feedback, Origin, Rules, told
from entroute.feedback.learning import Learner
from entroute.feedback.sharing import RedisKeeper
from entroute.feedback.storage import FileKeeper, Keeper, MemoryKeeper
from entroute.protocols import Clock
from entroute.redis_link.budgeted import RedisUrl
from entroute.redis_link.links import RedisLinks

_SHARED_WINDOWS = 4


class _Common(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: str
    capacity: int = Field(
        10_000, ge=1, description="Answers of this process that can still be labelled."
    )
    ttl_s: float = Field(
        86_400.0,
        gt=0,
        description="Seconds an answer can be labelled. Without any label for as long, nothing "
        "is audited.",
    )
    window: int = Field(
        500, ge=50, le=10_000, description="Last labels learned from, a plan and over all plans."
    )
    audit_share: float = Field(
        0.02,
        ge=0,
        le=0.5,
        description="Share of requests whose plan chance draws while labels come, so that they "
        "also tell of plans that the policy does not choose.",
    )
    max_age_days: float | None = Field(
        default=None, gt=0, description="Days after which a profile is stale; never when left out."
    )
    drift_false_alarms: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Probability of ever raising the drift alarm while predictions hold.",
    )
    drift_tolerance: float = Field(
        0.05,
        gt=0,
        le=0.2,
        description="How far labels and corrected predictions may differ on average before it "
        "is drift.",
    )

    def build(
        self,
        clock: Clock,
        origin: Origin,
        links: RedisLinks,
        wall: Callable[[], float] = time.time,
    ) -> Feedback:
        """Return what takes labels.

        Args:
            clock: Monotonic seconds.
            origin: Which profile predicts.
            links: Connections to Redis, closed by whoever made them.
            wall: Seconds since the epoch.

        Raises:
            ConfigurationError: There is nowhere to keep labels.
        """
        learner = Learner(self.window, self.drift_false_alarms, self.drift_tolerance, told=told)
        return Feedback(
            Rules(self.ttl_s, self.audit_share, self.max_age_days),
            origin,
            DecidedMemory(self.capacity, self.ttl_s, wall),
            learner,
            self._keeper(learner, origin, links),
            wall,
        )

    def _keeper(self, learner: Learner, origin: Origin, links: RedisLinks) -> Keeper:
        return MemoryKeeper()


class MemoryFeedbackConfig(_Common):
    """Labels are learned from, and forgotten when the process ends."""

    kind: Literal["memory"] = Field("memory", description="Keep labels in this process.")


class FileFeedbackConfig(_Common):
    """Labels are kept in a file of one gateway."""

    kind: Literal["file"] = Field("file", description="Keep labels in a file.")
    path: Path = Field(description="The file; its folder must exist. One gateway a file.")

    def _keeper(self, learner: Learner, origin: Origin, links: RedisLinks) -> Keeper:
        if not self.path.parent.is_dir():
            raise ConfigurationError(
                f"feedback.path: there is no folder {self.path.parent}; make it first"
            )
        return FileKeeper(self.path, origin.name, learner)


class RedisFeedbackConfig(_Common):
    """Labels are shared by several gateways: any may be told how another's answer turned out."""

    kind: Literal["redis"] = Field("redis", description="Keep labels in Redis.")
    url: RedisUrl
    timeout_ms: int = Field(
        50,
        gt=0,
        description="Milliseconds one operation may take; after that labels stay in this process.",
    )

    def _keeper(self, learner: Learner, origin: Origin, links: RedisLinks) -> Keeper:
        redis = links.to(self.url.get_secret_value(), self.timeout_ms / 1000)
        return RedisKeeper(
            redis, origin.name, learner, self.ttl_s, labels=self.window * _SHARED_WINDOWS
        )


FeedbackConfig = Annotated[
    MemoryFeedbackConfig | FileFeedbackConfig | RedisFeedbackConfig, Field(discriminator="kind")
]
"""Where labels are kept, told apart by `kind`."""
