"""The targets, which answer requests: the only place from which requests leave."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from jobstore.model.handle import AttemptHandle
from jobstore.model.message import Request, Response


class Target(Protocol):
    """Something that answers requests."""

    def send(
        self, request: Request, handle: AttemptHandle
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request and yield its response, with the body still streaming.

        Leaving the context before the end of the body breaks off the exchange.

        Args:
            request: what to send, with end-to-end headers only.
            handle: the job that the request is for; a handle without an id if it is not a job's.

        Raises:
            TargetFailed: on entry, or while the body is read.
        """


@runtime_checkable
class Reachable(Protocol):
    """A target that may be unreachable."""

    async def reach(self) -> None:
        """Check whether it can be reached, without sending anything.

        Raises:
            TargetUnreachable: it cannot.
        """
