"""How long a soak takes, and what its server is told to keep for how long."""

from dataclasses import dataclass
from typing import Final

# The paths that the service behind the server answers.
UPSTREAM: Final = "/_db/_system"
_INTERVAL: Final = 5.0
_SAMPLES: Final = 30  # at least
_BACKUPS: Final = 30  # at most
_STEADY: Final = 300.0  # until caches and heaps are as large as they get
_SHORTEST: Final = 60.0  # that a result waits, so that whoever wants it is in time

_CONFIG: Final = """
[server]
dialects = ["kinetica", "datameer"]

[executor]
retry_delay = "50ms"
retry_statuses = [429, 500, 502, 503, 504]

[retention]
unfetched = {unfetched:.1f}
fetched = {fetched:.1f}
history = {history:.1f}
interval = {interval:.1f}

[log]
level = "warning"

[[target]]
prefix = "/"
app = "jobstore.demo:create_app"

[[target]]
prefix = "{prefix}"
upstream = "{upstream}"
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long things take, in seconds.

    All is kept for so short that the store is as full as it gets before the warm-up is over.

    Args:
        duration: the whole.
    """

    duration: float

    @property
    def warm_up(self) -> float:
        """How long it takes to become steady: ten minutes of an hour.

        Caches and heaps need some minutes, however long the whole is: a third of a quarter of an
        hour.
        """
        return max(self.duration / 6, min(_STEADY, self.duration / 3))

    @property
    def unfetched(self) -> float:
        """For how long a result waits for its reader: two minutes of an hour."""
        return max(_SHORTEST, self.duration / 30)

    @property
    def interval(self) -> float:
        """How long it is between two samples."""
        return min(_INTERVAL, self.duration / _SAMPLES)

    @property
    def samples(self) -> int:
        """How many samples are taken; on a busy machine that may take longer than planned."""
        return round(self.duration / self.interval)

    @property
    def backups(self) -> float:
        """How many backups are made in a second."""
        return 1 / max(_SHORTEST, self.duration / _BACKUPS)

    def config(self, upstream: str) -> str:
        """Write the server's configuration, with the URL of the service behind it."""
        fetched = self.unfetched / 2
        return _CONFIG.format(
            unfetched=self.unfetched,
            fetched=fetched,
            history=2.5 * self.unfetched,
            interval=fetched / 12,
            prefix=UPSTREAM,
            upstream=upstream,
        )
