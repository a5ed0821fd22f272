"""An application that writes down, outside of any store, what it was asked to do."""

import os
from typing import Final

from aiohttp import web

from jobstore.targets.inprocess import current

# Where it writes; each line is one attempt at one job.
WITNESS: Final = "WITNESS_FILE"


async def work(request: web.Request) -> web.Response:
    """Note the attempt before doing anything, then give the body back."""
    job = current(request)
    line = f"{job.id} {job.attempt} {request.method}\n".encode()
    witness = os.open(os.environ[WITNESS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(witness, line)
    finally:
        os.close(witness)
    return web.Response(body=await request.read())


def create_app() -> web.Application:
    """Make the application."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/work", work)
    return app
