"""Who answers the requests: the only place from which requests leave."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from jobstore.model.handle import JobHandle
from jobstore.model.message import Request, Response


class Target(Protocol):
    """Something that answers requests."""

    def send(self, request: Request, handle: JobHandle) -> AbstractAsyncContextManager[Response]:
        """Send a request and give its response, the body still streaming.

        Leaving the context before the body's end breaks the exchange off.

        Args:
            request: what to send; its headers are end-to-end already.
            handle: the job that the request is for; a handle without id if it is invalid.

        Raises:
            TargetFailed: on entry, or while the body is read.
        """


@runtime_checkable
class Reachable(Protocol):
    """A target that may be unreachable."""

    async def reach(self) -> None:
        """Find out whether it can be reached, and send nothing.

        Raises:
            TargetUnreachable: it cannot.
        """
