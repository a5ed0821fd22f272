"""How long things are kept, as configured; kept apart, since the configuration loads no store."""

from jobstore.config.sections import Config
from jobstore.live.janitor import Retention


def retention_of(config: Config) -> Retention:
    """Return the configured retention."""
    section = config.retention
    return Retention(
        unfetched=section.unfetched,
        fetched=section.fetched,
        history=section.history,
        interval=section.interval,
    )
