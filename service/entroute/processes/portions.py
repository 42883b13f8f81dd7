"""A process's part of what is configured for the whole gateway."""

from typing import TypeVar

from entroute.settings import Settings
from entroute.tier_settings import EmbeddingSettings, TierSettings

T = TypeVar("T", TierSettings, EmbeddingSettings)


def portion(settings: Settings) -> Settings:
    """Return the settings of one process: caps on calls are divided, rounded up.

    Workers are called by all processes, so that whole caps would add up to many times what a
    worker is to be given. Limits of API keys are shared exactly, through Redis.
    """
    processes = settings.server.processes
    if processes == 1:
        return settings

    def part(whole: int) -> int:
        return -(-whole // processes)

    def with_part(tier: T) -> T:
        return tier.model_copy(update={"max_in_flight": part(tier.max_in_flight)})

    queue, retries = settings.queue, settings.retries
    return settings.model_copy(
        update={
            "tiers": tuple(with_part(tier) for tier in settings.tiers),
            "embeddings": tuple(with_part(tier) for tier in settings.embeddings),
            "queue": queue.model_copy(update={"size": part(queue.size)}),
            "retries": retries.model_copy(update={"min_per_s": retries.min_per_s / processes}),
        }
    )
