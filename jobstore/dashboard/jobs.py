"""The list of jobs."""

from typing import Final

from aiohttp import web

from jobstore.dashboard.pages import render
from jobstore.dashboard.visit import Route, Routes, Visit


async def show(visit: Visit) -> web.Response:
    """Show the newest jobs."""
    return render(visit.request, "jobs.html")


ROUTES: Final[Routes] = (Route("GET", "", show),)
