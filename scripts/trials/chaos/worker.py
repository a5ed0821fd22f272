"""The application that works for the jobs: the demo, which puts each execution down first.

What it puts down outlives its process: it is in the kernel's hands at once.
"""

import os
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore import current, demo

# The environment says where: a line for each execution, with method, job and attempt.
RECORD: Final = "CHAOS_RECORD"


def create_app() -> web.Application:
    """Return the application, ready to be run."""
    record = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        job = current(request)
        if job.id is not None:
            os.write(record, b"%s %d %d\n" % (request.method.encode(), job.id, job.attempt))
        return await handler(request)

    app = demo.create_app()
    app.middlewares.append(count)
    return app
