"""People with accounts at a server, each with a client that sends their credentials."""

from base64 import b64encode
from contextlib import AsyncExitStack
from functools import cache

from jobstore.model.account import Role
from jobstore.model.passwords import digest, hashed, new_token
from jobstore.server import Server
from tests.client import Client
from trials.clients import client

PASSWORD = "correct horse"

_hashed = cache(hashed)


def basic(name: str, password: str = PASSWORD) -> str:
    """Write credentials as RFC 7617 has them."""
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


class People:
    """The accounts at one server.

    Args:
        server: the server.
        stack: what ends their clients.
    """

    def __init__(self, server: Server, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack

    async def add(self, name: str, role: Role = Role.USER, password: str = PASSWORD) -> Client:
        """Give somebody an account, and a client that sends their name and password."""
        await self.server.store.accounts.add(name, role, _hashed(password))
        return await self.client(basic(name, password))

    async def with_token(self, name: str, role: Role = Role.USER) -> Client:
        """Give somebody an account, and a client that sends a token, which costs no time."""
        await self.server.store.accounts.add(name, role, _hashed(PASSWORD))
        return await self.client(f"Bearer {(await self.token(name))[0]}")

    async def token(self, name: str) -> tuple[str, int]:
        """Give somebody a token; return it with its id."""
        token = new_token()
        return token, await self.server.store.accounts.add_token(name, "", digest(token))

    async def client(self, authorization: str | None = None) -> Client:
        """Give a client that sends some credentials with each request, or none."""
        headers = {"Authorization": authorization} if authorization is not None else {}
        http = await self._stack.enter_async_context(client(headers))
        return Client(http, self.server.url)
