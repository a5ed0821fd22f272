"""Targets."""

from typing import Final

from jobstore.dashboard.visit import Routes

ROUTES: Final[Routes] = ()
