"""Requests that pass through: sent to their target at once, and the response sent back.

A small request is accepted at the desk, and its target is asked from there. A response that arrives
as a whole is written from there too; over an idle connection to the target, this takes no task. For
any other, the desk passes the request on together with what remains to be done (`Relay.finish`), so
that streaming, disappearing clients and broken responses are handled in one place. The same happens
to a request whose client closes its sending side while it waits. Then one task keeps the exchange
with the target open all the while, and ends with it; if the client goes away, that task is
cancelled.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from aiohttp import web

from jobstore.model.account import Identity
from jobstore.model.errors import (
    AccountsUnavailable,
    BodyBroken,
    StoreError,
    TargetFailed,
)
from jobstore.model.handle import JobHandle
from jobstore.model.message import Request, Response, bodiless
from jobstore.targets import PromptSending, Target
from jobstore.web import answers, refusals, standing, wire
from jobstore.web.ask import Ask

log = logging.getLogger(__name__)


class Relay:
    """A request at the desk that is passed on.

    Args:
        ask: the request.
        target: its target.
        incoming: the request as it is passed on.
        handle: knows where it comes from.
        again: returns its sender again after a wait; None if access was revoked.
    """

    def __init__(
        self,
        ask: Ask,
        target: Target,
        incoming: Request,
        handle: JobHandle,
        again: Callable[[], Identity | None],
    ) -> None:
        self._ask = ask
        self._sending = target.send(incoming, handle)
        self._again = again
        self._passed_on: asyncio.Future[Response] | None = None
        self._finished: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Send the request to the target."""
        self._ask.when_leaving(self._leave)
        sending = self._sending
        if not (isinstance(sending, PromptSending) and sending.begin(partial(self._told, sending))):
            self._go_on()

    def _told(self, sending: PromptSending) -> None:
        """Answer with a response that is whole; leave any other, and errors, to a task."""
        if self._task is not None:
            return
        data = self._whole(sending)
        if data is None:
            self._go_on()
            return
        sending.finish()  # before the client asks again
        self._ask.when_leaving(None)
        self._ask.hand_over(data, _whatever)

    def _whole(self, sending: PromptSending) -> bytes | None:
        """Serialise a response that is whole; None if it has to take the long way."""
        try:
            response = sending.whole()
            if response is None:
                return None
            self._confirm()
            return self._written(response)
        except Exception:  # noqa: BLE001 - raised again in the task, which answers all of them
            return None

    def _go_on(self) -> None:
        """Let a task do what is left."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with self._sending as response:
                self._confirm()
                data = None if self._passed_on else self._written(response)
                if data is None:
                    await self._left_to_finish(response)
                else:
                    self._ask.hand_over(data, _whatever)
        except asyncio.CancelledError:
            if self._passed_on is None:
                self._ask.drop()
            raise
        except Exception as error:  # noqa: BLE001 - told to the client, and logged there
            self._failed(error)
        finally:
            self._ask.when_leaving(None)  # else it and this would keep each other

    def _confirm(self) -> None:
        """Check the sender of a request again, before sending anything.

        Raises:
            Revoked: their access was revoked.
        """
        if self._again() is None:
            raise standing.Revoked

    def _written(self, response: Response) -> bytes | None:
        """Serialise a response if the desk can send it; None if it has to take the long way."""
        if not isinstance(response.body, bytes) or bodiless(self._ask.method, response.status):
            return None
        return answers.relayed(response)

    async def _left_to_finish(self, response: Response) -> None:
        """Hold the exchange open while the long way answers."""
        self._finished = asyncio.get_running_loop().create_future()
        passed_on = self._passed_on or self._pass_on()
        if not passed_on.done():
            passed_on.set_result(response)
            await self._finished

    def _failed(self, error: Exception) -> None:
        if self._passed_on is not None:
            if not self._passed_on.done():
                self._passed_on.set_exception(error)
        elif isinstance(error, standing.Revoked | StoreError | TargetFailed):
            self._ask.answer(answers.of(refusal(error)))
        else:
            self._ask.fail(error)

    # --- the long way ---------------------------------------------------------------------------

    def _leave(self) -> None:
        """Stop if the client is gone; if it only closed its side, leave it to the long way."""
        if not self._ask.gone:
            if self._passed_on is None:
                self._pass_on()
        elif self._task is None:
            self._break_off()
        else:  # not before its first step: a task that has not begun would just vanish
            asyncio.get_running_loop().call_soon(self._task.cancel)

    def _break_off(self) -> None:
        assert isinstance(self._sending, PromptSending)  # all else has a task
        self._sending.drop()
        self._ask.when_leaving(None)
        self._ask.drop()

    def _pass_on(self) -> asyncio.Future[Response]:
        passed_on: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        passed_on.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._passed_on = passed_on
        if self._task is None:
            self._go_on()
        self._ask.pass_on(self.finish)
        return passed_on

    async def finish(self, request: web.Request) -> web.StreamResponse:
        """Answer the request that was passed on with its target's response."""
        assert self._passed_on is not None
        try:
            return await wire.relay(request, await self._passed_on)
        except (StoreError, TargetFailed) as error:
            return refusal(error)
        except asyncio.CancelledError:
            if self._task is not None:
                self._task.cancel()
            raise
        finally:
            if self._finished is not None and not self._finished.done():
                self._finished.set_result(None)


def refusal(error: BodyBroken | StoreError | TargetFailed | standing.Revoked) -> web.Response:
    """Answer a request that could not be relayed."""
    if isinstance(error, standing.Revoked):
        return error
    if isinstance(error, StoreError):  # strangers are not told which file it is
        return refusals.shared_refusal(AccountsUnavailable.status, str(AccountsUnavailable()))
    if isinstance(error, TargetFailed):
        log.info("no answer: %s", error, extra={"action": "relay"})
    return refusals.problem_of(error)


def _whatever(_: Exception | None) -> None:
    """Do nothing: an answer that passes through is not stored."""
