"""The edge kit: what every dialect is built from.

A dialect is a table of calls by path and method, a table of words for the states of a job, one
function that writes an error in its words, and handlers that read, call the store once and answer.
Our own errors carry their status; the dialect only writes it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from aiohttp import web
from multidict import CIMultiDict

from jobstore.live import Store
from jobstore.model.definition import Definition
from jobstore.model.errors import JobstoreError, NoTarget
from jobstore.model.job import Dialect, Submission, Trigger
from jobstore.model.message import Headers
from jobstore.model.tracing import continued
from jobstore.targets.router import Router, TargetRoute
from jobstore.web import standing
from jobstore.web.refusals import MethodNotAllowed, Refuse

Call: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_calls(
    urls: web.UrlDispatcher, calls: Mapping[str, Mapping[str, Call]], refuse: Refuse
) -> None:
    """Add calls to the router of an application; other methods are refused.

    Args:
        calls: the handlers by path pattern, as in aiohttp, and by method; ``*`` is any method. HEAD
            needs none: that of GET answers it (RFC 9110 section 9.1).
        refuse: turns the errors that they raise into answers.
    """
    for path, by_method in calls.items():
        # One route for all methods: to make one takes as long as to answer several calls.
        urls.add_resource(path).add_route("*", told(_one_of(by_method), refuse))


def told(call: Call, refuse: Refuse) -> Call:
    """Wrap a call so that errors are answered in the dialect's words."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await call(request)
        except JobstoreError as error:
            return refuse(request, error)

    return answer


def _one_of(by_method: Mapping[str, Call]) -> Call:
    # HEAD goes without saying, where there is a GET.
    refusal, any_other = MethodNotAllowed([*by_method]), by_method.get("*")
    calls = {"HEAD": by_method["GET"], **by_method} if "GET" in by_method else by_method

    async def answer(request: web.Request) -> web.StreamResponse:
        call = calls.get(request.method, any_other)
        if call is None:
            raise refusal
        return await call(request)

    return answer


def reply(
    status: int, content_type: str, body: bytes | None = None, headers: Headers = ()
) -> web.Response:
    """Create an answer with a serialised body."""
    fields = CIMultiDict([("Content-Type", content_type), *headers])
    return web.Response(status=status, body=body, headers=fields)


def owner_of(store: Store, router: Router, method: str, path: str) -> TargetRoute:
    """Return the target of a job's request; if there is none, count a refusal.

    Raises:
        NoTarget: no target answers it.
    """
    try:
        return router.owner(method, path)
    except NoTarget as error:
        store.submissions.refused(error)
        raise


def run_of(
    definition: Definition,
    store: Store,
    router: Router,
    request: web.Request,
    dialect: Dialect,
    trigger: Trigger,
) -> Submission:
    """Create the submission that runs a definition, for the sender of a request.

    Raises:
        Forbidden: the sender may not change anything.
        NoTarget: no target answers the definition's request.
    """
    identity, asked = standing.changing(request), definition.draft.request
    target = owner_of(store, router, asked.method, asked.path).name
    run = definition.run(target, dialect, identity.name, trigger, identity.account)
    return traced(replace(run, source=standing.source(request)), request)


def traced(submission: Submission, request: web.Request) -> Submission:
    """Let a job continue the trace of the request that describes it, unless it names another."""
    headers = submission.request.headers
    longer = continued(headers, request.headers.items())
    if longer is headers:
        return submission
    return replace(submission, request=submission.request.with_headers(longer))
