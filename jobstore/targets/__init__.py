"""The targets, which answer requests: the only place from which requests leave."""

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from jobstore.model.handle import JobHandle
from jobstore.model.message import Request, Response


class Target(Protocol):
    """Something that answers requests."""

    def send(self, request: Request, handle: JobHandle) -> AbstractAsyncContextManager[Response]:
        """Send a request and yield its response, with the body still streaming.

        Leaving the context before the end of the body breaks off the exchange.

        Args:
            request: what to send, with end-to-end headers only.
            handle: the job that the request is for; a handle without an id if it is not a job's.

        Raises:
            TargetFailed: on entry, or while the body is read.
        """


class PromptSending(AbstractAsyncContextManager[Response]):
    """A request and its response, which may need no task.

    Once it has begun, exactly one of these ends it: `finish`, `drop`, or entering and leaving the
    context, which goes on with what has begun.
    """

    @abstractmethod
    def begin(self, told: Callable[[], None]) -> bool:
        """Send the request, if nothing has to be waited for; return whether it was sent.

        Args:
            told: called once there is a response, or there will be none.
        """

    @abstractmethod
    def whole(self) -> Response | None:
        """Return the response if all of it is there; otherwise, the context has to be entered."""

    @abstractmethod
    def finish(self) -> None:
        """End an exchange whose response is whole."""

    @abstractmethod
    def drop(self) -> None:
        """Break off the exchange."""


@runtime_checkable
class Reachable(Protocol):
    """A target that may be unreachable."""

    async def reach(self) -> None:
        """Check whether it can be reached, without sending anything.

        Raises:
            TargetUnreachable: it cannot.
        """
