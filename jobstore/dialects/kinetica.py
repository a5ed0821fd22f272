"""Kinetica's jobs."""

import re
from typing import Final

from aiohttp import web

from jobstore.store import Store
from jobstore.targets.router import Router

# How the paths of this API begin.
OWN_PATHS: Final = re.compile(
    r"/(?:create/job|get/job|admin/(?:show|alter)/jobs|show/system/(?:status|properties))(?:[?]|$)"
)


class KineticaJobs:
    """Kinetica's calls about jobs.

    Args:
        store: where the jobs are.
        router: who answers which path.
    """

    def __init__(self, store: Store, router: Router) -> None:
        self._store = store
        self._router = router

    def add_routes(self, app: web.Application) -> None:
        """Let an application answer them."""
