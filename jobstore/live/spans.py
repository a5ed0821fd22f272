"""OpenTelemetry spans for submissions and attempts.

A submission is a span (`send`) in its client's trace. Its context is stored with the job as its
`traceparent`, so each attempt has it, in any process, even where tracing is off by then. Each
attempt is a span (`process`), with the request to the target as a span inside; the target receives
the context of that one.

Between a submission and an attempt there may be minutes, restarts and retries. So an attempt begins
a new trace with a link to the submission, or continues that trace if it is configured to:
https://github.com/open-telemetry/oteps/blob/main/text/trace/0220-messaging-semantic-conventions-span-structure.md

Only the API is used. Sampling and export are up to the SDK that the operator sets up; without
one, contexts are passed on unchanged.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from jobstore import __version__
from jobstore.model.job import Claim, Failure, Submission
from jobstore.model.message import Headers, Request, body_size
from jobstore.model.tracing import CONTEXT

# The names of messaging conventions are "Development" still, so they stand here only:
# https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
SYSTEM: Final = "messaging.system"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
MESSAGE: Final = "messaging.message.id"
SIZE: Final = "messaging.message.body.size"
METHOD: Final = "http.request.method"
PATH: Final = "url.path"
QUERY: Final = "url.query"
STATUS: Final = "http.response.status_code"
ERROR: Final = "error.type"
ATTEMPT: Final = "jobstore.job.attempt"
DEFINITION: Final = "jobstore.job.definition"
TAG: Final = "jobstore.job.tag"
_SERVER_ERROR: Final = 500


@dataclass(slots=True)
class TracedAttempt:
    """A traced attempt.

    Args:
        claim: the claim; its request carries the context for the target.
        process: the span of the attempt.
        client: the span of the request.
    """

    claim: Claim
    process: Span
    client: Span

    def answered(self, status: int) -> None:
        """Note the target's answer."""
        self.client.set_attribute(STATUS, status)
        if status >= _SERVER_ERROR:
            self.failed(str(status))

    def failed(self, why: Failure | str) -> None:
        """Note that there was no answer, or that it reports a failure of the target."""
        for span in (self.client, self.process):
            span.set_attribute(ERROR, str(why))
            span.set_status(Status(StatusCode.ERROR))


class Spans:
    """Make spans.

    Args:
        parent: whether attempts continue the trace of their submission, instead of linking to it.
        query: whether spans include the query of a request, which may contain secrets.
    """

    def __init__(self, *, parent: bool, query: bool) -> None:
        self._parent = parent
        self._query = query
        self._tracer = trace.get_tracer("jobstore", __version__)

    def send(self, submission: Submission) -> tuple[Submission, Span]:
        """Begin the span of a submission; return the submission with its context."""
        request = submission.request
        attributes = {
            **self._about("send", submission.target, request),
            DEFINITION: submission.definition,
            TAG: submission.tag,
        }
        span = self._tracer.start_span(
            f"send {submission.target}",
            context=_extracted(request.headers),
            kind=SpanKind.PRODUCER,
            attributes={name: value for name, value in attributes.items() if value is not None},
        )
        within = trace.set_span_in_context(span, _extracted(request.headers))
        headers = _injected(request.headers, within)
        return replace(submission, request=request.with_headers(headers)), span

    @staticmethod
    def sent(span: Span, job_id: int | None, error: Exception | None = None) -> None:
        """End the span of a submission: it is on the disk, or was refused."""
        if job_id is not None:
            span.set_attribute(MESSAGE, str(job_id))
        if error is not None:
            span.set_attribute(ERROR, type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    @contextmanager
    def attempt(self, claim: Claim) -> Iterator[TracedAttempt]:
        """Make the spans of an attempt while the context lasts."""
        came = _extracted(claim.request.headers)
        origin = trace.get_current_span(came).get_span_context()
        attributes = {
            **self._about("process", claim.target, claim.request),
            MESSAGE: str(claim.job_id),
            ATTEMPT: claim.attempt,
        }
        with (
            self._tracer.start_as_current_span(
                f"process {claim.target}",
                context=came if self._parent else Context(),
                kind=SpanKind.CONSUMER,
                links=[Link(origin)] if origin.is_valid and not self._parent else (),
                attributes=attributes,
            ) as process,
            self._tracer.start_as_current_span(
                claim.request.method, kind=SpanKind.CLIENT, attributes=self._asked(claim.request)
            ) as client,
        ):
            headers = claim.request.headers
            if client.get_span_context().is_valid:
                headers = _injected(headers, trace.set_span_in_context(client, came))
            traced = replace(claim, request=claim.request.with_headers(headers))
            yield TracedAttempt(traced, process, client)
            process.add_event("settle")

    def _about(self, operation: str, target: str, request: Request) -> Mapping[str, str | int]:
        size = body_size(request.body)
        return {
            SYSTEM: "jobstore",
            OPERATION: operation,
            OPERATION_TYPE: operation,
            DESTINATION: target,
            **({} if size is None else {SIZE: size}),
        }

    def _asked(self, request: Request) -> Mapping[str, str]:
        path, _, query = request.path.partition("?")
        asked = {METHOD: request.method, PATH: path}
        return {**asked, QUERY: query} if self._query and query else asked


def _extracted(headers: Headers) -> Context:
    """Read the trace context of a request."""
    carrier = {name.lower(): value for name, value in headers if name.lower() in CONTEXT}
    return propagate.extract(carrier, context=Context())


def _injected(headers: Headers, context: Context) -> Headers:
    """Replace the trace context of a request."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context=context)
    if "traceparent" not in carrier:  # nobody makes spans, or propagates them in another way
        return headers
    written = {name.lower() for name in carrier}
    return (*(item for item in headers if item[0].lower() not in written), *carrier.items())
