"""Datameer's jobs."""

import re
from typing import Final
from zoneinfo import ZoneInfo

from aiohttp import web

from jobstore.store import Store
from jobstore.targets.router import Router

# How the paths of this API begin.
OWN_PATHS: Final = re.compile(
    r"/rest/(?:job-configuration/(?:job-status|job-history)/|job-execution(?:[/?]|$)|jobs/list-running"
    r"|data/|workbook/|import-job/|export-job/)|/api/job-execution/.+/status(?:[?]|$)"
)


class DatameerJobs:
    """Datameer's calls about jobs and definitions.

    Args:
        store: where they are.
        router: who answers which path.
        zone: in which times are written.
    """

    def __init__(self, store: Store, router: Router, zone: ZoneInfo) -> None:
        self._store = store
        self._router = router
        self._zone = zone

    def add_routes(self, app: web.Application) -> None:
        """Let an application answer them."""
