"""A real server that is killed and started again, for tests that go on afterwards."""

from typing import Any

from aiohttp import ClientSession

from tests.client import Client
from trials.serving import ServerProcess


class Restarting:
    """A server, and a client that follows it through its restarts."""

    def __init__(self, server: ServerProcess, http: ClientSession) -> None:
        self.server = server
        self._http = http

    @property
    def client(self) -> Client:
        """A client of the server as it runs now."""
        return Client(self._http, self.server.url)

    async def killed(self) -> None:
        """Kill the server, and start it again."""
        await self.server.kill()
        await self.server.start()

    async def begun(self, name: str, method: str = "GET", **options: Any) -> int:
        """Submit a job, and return its id when its work has begun."""
        job_id = await self.client.submit(f"/wait/{name}", method, **options)
        await self.client.when(name, "started")
        return job_id
