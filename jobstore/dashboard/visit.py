"""Visitors of pages, and what a page needs to answer them."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias

from aiohttp import web

from jobstore.live import Store
from jobstore.live.janitor import Retention
from jobstore.model.account import Identity
from jobstore.model.errors import Forbidden, JobNotFound
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.store.budget import Budget
from jobstore.targets.router import Router
from jobstore.web.access import Access
from jobstore.web.parameters import id_of

# Below this path the pages are; no page knows by which path a browser has reached it.
MOUNT: Final = "/_jobs/ui"
_SHOWN: Final = 40  # of an id that is none


@frozen(kw_only=True)
class Visitor:
    """The visitor of a page.

    Args:
        identity: who they are.
        everybody: whether everybody has access, since there are no accounts.
        session: the id of their session; None if their requests carry credentials of their own.
    """

    identity: Identity
    everybody: bool = False
    session: int | None = None

    @property
    def name(self) -> str:
        """Their name; "" if they have none."""
        return self.identity.name

    @property
    def may_act(self) -> bool:
        """Whether they may change anything."""
        return self.identity.changes

    @property
    def sees_all(self) -> bool:
        """Whether they see everybody's jobs."""
        return self.identity.scope is None

    @property
    def administers(self) -> bool:
        """Whether they may do everything."""
        return self.identity.administers

    @property
    def has_account(self) -> bool:
        """Whether they have an account of the store, with a password that they may change."""
        return self.identity.id is not None

    def acting(self) -> Identity:
        """Return their identity for a change.

        Raises:
            Forbidden: they may not change anything.
        """
        if not self.may_act:
            raise Forbidden
        return self.identity

    def seeing_all(self) -> Identity:
        """Return their identity for a page about everybody's jobs.

        Raises:
            Forbidden: they may not see it.
        """
        if not self.sees_all:
            raise Forbidden("this page is for admins and readers")
        return self.identity


VISITOR: Final = web.RequestKey("jobstore.dashboard.visitor", Visitor)


@frozen(kw_only=True)
class Visit:
    """A request for a page, with all that is there to answer it.

    Args:
        access: verifies passwords; None where an application has a login of its own.
        retention: the retention times.
        budget: makes what tells how long a search may take.
    """

    request: web.Request
    store: Store
    router: Router
    access: Access | None
    retention: Retention
    budget: Callable[[], Budget] = Budget

    @property
    def visitor(self) -> Visitor:
        """Its sender; not for pages that are available without a login."""
        return self.request[VISITOR]

    @property
    def scope(self) -> int | None:
        """Whose jobs they may see, or None for everybody's."""
        return self.visitor.identity.scope


async def job_of(visit: Visit) -> Job:
    """Return the job that a page is about, by the id in its path.

    Raises:
        JobNotFound: there is none with this id that the caller may see.
    """
    return await visit.store.history.job(id_in_path(visit), visit.scope)


def id_in_path(visit: Visit) -> int:
    """Return the id of the job that a page is about.

    Raises:
        JobNotFound: what the path has in its place is none.
    """
    text = visit.request.match_info["id"]
    number = id_of(text)
    if number is None:
        raise JobNotFound(text[:_SHOWN])
    return number


Handler: TypeAlias = Callable[[Visit], Awaitable[web.StreamResponse]]


class PageRoute(NamedTuple):
    """A page, or an action of a form.

    Args:
        path: its path pattern below the mount, without a slash at its beginning.
        strangers: whether it is available without a login.
    """

    method: str
    path: str
    handler: Handler
    strangers: bool = False


Routes: TypeAlias = tuple[PageRoute, ...]
