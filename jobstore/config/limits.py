"""The configured limits of the store; a separate module, so that configuration loads no store."""

from jobstore.config.sections import Config
from jobstore.live import Limits, OwnerLimits


def store_limits(config: Config) -> Limits:
    """Return the limits of the store, for its server and for commands."""
    return Limits(
        queue=config.executor.queue_limit,
        body=config.capture.body_limit,
        answer=config.capture.response_limit,
        inline=config.store.inline_limit,
        size=config.store.max_size,
        secret=config.privacy.secret,
        owner=OwnerLimits(
            queued=config.limits.queued,
            running=config.limits.running,
            stored=config.limits.stored_bytes,
            rate=config.limits.submissions_per_second,
        ),
        depth=config.limits.depth,
    )
