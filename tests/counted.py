"""The demo, which puts down each time that it is asked to work for a job before it works.

What it puts down outlives its process: it is in the kernel's hands at once.
"""

import os

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore import demo
from jobstore.targets.inprocess import current

# The environment says where: one line for each time, with the job's id and the attempt.
RECORD = "COUNTED_RECORD"


def create_app() -> web.Application:
    """Return the application, ready to be run."""
    record = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        job = current(request)
        if job.id is not None:
            os.write(record, b"%d %d\n" % (job.id, job.attempt))
        return await handler(request)

    app = demo.create_app()
    app.middlewares.append(count)
    return app
