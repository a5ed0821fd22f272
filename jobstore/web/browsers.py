"""Requests of web pages: those of other origins are refused unless they are configured.

Only our own APIs and requests for jobs are protected. A request that passes through follows the
rules of its target.
"""

import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from jobstore.web import intake, origins, refusals, wire
from jobstore.web.origins import OriginDecision, Rules

_SHOWN: Final = 100  # of what a client sends, as much is logged

log = logging.getLogger(__name__)


class Browsers:
    """Check requests that web pages may have sent.

    Args:
        rules: which pages are allowed, and which names this server has.
        anonymous: returns whether no account is needed at the moment.
        asking: the headers that ask for a job, in lower case.
    """

    def __init__(self, rules: Rules, anonymous: Callable[[], bool], asking: frozenset[str]) -> None:
        self._rules = rules
        self._anonymous = anonymous
        self._asking = asking

    def follow(self, rules: Rules) -> None:
        """Replace the rules."""
        self._rules = rules

    def met(self, request: web.Request, *, ours: bool) -> web.Response | None:
        """Answer a refused request or a preflight; None if the request is allowed.

        Args:
            request: the request; only its head is read.
            ours: whether it is for one of our APIs or asks for a job.
        """
        if ours:
            return self._guarded(request)
        return self._submitting(request) if request.method == "OPTIONS" else None

    def passes(self, headers: MultiMapping[str], *, anonymous: bool) -> bool:
        """Return whether a request is certainly allowed; see `Rules.plain`."""
        return self._rules.plain(headers, anonymous=anonymous)

    def _guarded(self, request: web.Request) -> web.Response | None:
        decision = self._decided(request)
        if decision.status:
            _log(request, decision)
            return refusals.shared_refusal(decision.status, decision.detail)
        if decision.page is None:
            return None
        request[wire.PAGE] = decision.page
        if not origins.is_preflight(request.method, request.headers):
            return None
        return _leave(request, submission=False)

    def _submitting(self, request: web.Request) -> web.Response | None:
        """Answer a preflight for a submission; others are passed to their target.

        So are those of pages that are not allowed: a target may use the header ``Prefer`` itself.
        """
        headers = request.headers
        if not origins.is_preflight(request.method, headers):
            return None
        if self._asking.isdisjoint(origins.asked_headers(headers)):
            return None
        page = self._decided(request).page
        if page is None:
            return None
        request[wire.PAGE] = page
        return _leave(request, submission=True)

    def _decided(self, request: web.Request) -> OriginDecision:
        headers = request.headers
        authority = intake.authority_of(request)
        return self._rules.decide(headers, authority, anonymous=self._anonymous())


def _leave(request: web.Request, *, submission: bool) -> web.Response:
    return web.Response(status=204, headers=origins.leave(request.headers, submission=submission))


def _log(request: web.Request, decision: OriginDecision) -> None:
    headers = request.headers
    log.warning(
        "refused with %d: Host %r, Origin %r, Sec-Fetch-Site %r",
        decision.status,
        headers.get("Host", "")[:_SHOWN],
        headers.get("Origin", "")[:_SHOWN],
        headers.get("Sec-Fetch-Site", "")[:_SHOWN],
        extra={"action": "refuse"},
    )
