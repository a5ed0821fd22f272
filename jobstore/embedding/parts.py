"""What an application with jobs consists of besides itself, and how it is put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from aiohttp import web

from jobstore.apis import apis_of, application_of, calls_of, own_route, pages_of, refusing
from jobstore.assembly import access_of, browsers_of, measured, route_of, traced
from jobstore.config import Config
from jobstore.dialects.arango import ArangoHeader
from jobstore.dialects.native import PreferHeader
from jobstore.http import private
from jobstore.live import Store
from jobstore.live.executor import Executor
from jobstore.model.errors import ConfigError, StoreInUse
from jobstore.model.frozen import frozen
from jobstore.targets.inprocess import InProcess
from jobstore.targets.router import PathClaim, Router
from jobstore.web import wire
from jobstore.web.access import Access
from jobstore.web.browsers import Browsers
from jobstore.web.capture import Capture
from jobstore.web.gate import Gate
from jobstore.web.identifying import Identify, Identifying
from jobstore.web.refusals import Refuse
from jobstore.web.runners import served

# How often to look whether the application has started up.
_LOOK_SECONDS: Final = 0.01

_ONE_PROCESS: Final = (
    "a file has one process: run one worker (gunicorn --workers 1), or let several share a "
    'database: store="postgresql://..."'
)


@frozen
class Parts:
    """The parts of jobstore while the application runs.

    Args:
        front: answers jobstore's own calls.
        claims: the calls that are for it.
        pages: those of them that check by themselves who asks.
    """

    store: Store
    browsers: Browsers
    access: Gate
    capture: Capture
    executor: Executor
    front: web.Application
    claims: tuple[PathClaim, ...]
    pages: tuple[PathClaim, ...]

    def guards(self, method: str, path: str) -> bool:
        """Return whether the handler of a call checks by itself who asks."""
        return any(claim.covers(method, path) for claim in self.pages)


@frozen
class Embedding:
    """An application that has jobs.

    Args:
        identify: returns the sender of a request; None to use the store's accounts.
    """

    app: web.Application
    config: Config
    identify: Identify | None

    @property
    def protected(self) -> bool:
        """Whether the application's own answers need an account too."""
        return self.identify is None and self.config.server.protect == "all"

    async def assembled(self, stack: AsyncExitStack, store: Store, router: Router) -> Parts:
        """Build the parts, which last as long as a stack.

        Args:
            router: gets the application as the target of all paths but jobstore's own.

        Raises:
            ConfigError: everybody would have access, and ``open`` was not given.
        """
        config = self.config
        # The application may have such paths itself, so that "auto" is none here.
        apis = apis_of(config, store, router, config.server.dialects or ())
        headers = (ArangoHeader(), PreferHeader(store))
        access = self._access(stack, store, refusing(config, apis, headers))
        pages = pages_of(config, store, router, access)
        calls = calls_of(apis)
        front = application_of([*calls_of(pages), *calls])
        front.on_response_prepare.append(wire.before_head)
        await served(stack, front)
        own = await own_route(stack, config, apis, calls, access)
        ours = InProcess(_served(self.app), config.executor.cancel_grace)
        router.add(own, route_of("/", ours, config.executor))
        traced(config, store)
        meters = measured(config, store, router, apis, front=False)
        if isinstance(access, Access):
            access.meters = meters
        return Parts(
            store=store,
            browsers=browsers_of(config, access, public=config.server.open),
            access=access,
            capture=Capture(store, router, headers, config.capture.body_limit),
            executor=Executor(store, router, config.executor.max_attempts),
            front=front,
            claims=own.claims,
            pages=tuple(claim for each in pages for claim in each.claims),
        )

    def _access(self, stack: AsyncExitStack, store: Store, refuse: Refuse) -> Gate:
        """Choose how requests are authenticated."""
        if self.identify is not None:
            return Identifying(self.identify)
        anonymous = self.config.server.open
        if not (anonymous or store.accounts.snapshot().accounts):
            raise ConfigError(
                "jobstore.setup: everybody could see and change all jobs: pass identify=, which "
                "tells who sends a request, add an account with `jobstore user add NAME --role "
                "admin`, or pass open=True to allow this"
            )
        access = access_of(self.config, store, refuse, anonymous=anonymous)
        stack.push_async_callback(access.close)
        return access


@asynccontextmanager
async def alone(opening: AbstractAsyncContextManager[Store]) -> AsyncIterator[Store]:
    """Open a store; if it is in use, explain why that may be.

    Raises:
        StoreInUse: another process is using it.
    """
    async with AsyncExitStack() as stack:
        try:
            store = await stack.enter_async_context(opening)
        except StoreInUse as error:
            error.args = (f"{error}; {_ONE_PROCESS}",)
            raise
        yield store


def _served(app: web.Application) -> web.Server:
    """Return a server that handles the application's requests as its runner does.

    The runner's own server does not exist yet: it is created after the application has started up.
    """
    return web.Server(
        partial(private.handle, app),
        request_factory=private.request_factory_of(app),
        access_log=None,
        handler_cancellation=True,
    )


async def started(app: web.Application, closing: asyncio.Event) -> None:
    """Wait until an application has started up: jobs may need what it opens during startup."""
    while not (app.frozen or closing.is_set()):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_LOOK_SECONDS)
