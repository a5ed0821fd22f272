"""The calls under ``/_jobs``, by path and method."""

import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

from aiohttp import web

from jobstore.dialects.native import monitoring
from jobstore.dialects.native.bulk_calls import BulkCalls
from jobstore.dialects.native.definition_calls import DefinitionCalls
from jobstore.dialects.native.event_stream import Events
from jobstore.dialects.native.job_calls import JobCalls
from jobstore.dialects.native.listing import Listing
from jobstore.dialects.native.messages import Messages
from jobstore.dialects.native.overview_calls import OverviewCalls
from jobstore.dialects.native.problems import no_such_call, refused
from jobstore.dialects.native.reports import Reports
from jobstore.dialects.native.store_calls import StoreCalls
from jobstore.dialects.native.submission_calls import SubmissionCalls
from jobstore.dialects.native.target_calls import TargetCalls
from jobstore.live import Store
from jobstore.live.janitor import Retention
from jobstore.targets.router import PathClaim, Router
from jobstore.web.edge import Call, add_calls

# All that is below this path, with any method: what is no call is refused here.
CLAIMS: Final = (PathClaim(re.compile(r"/_jobs(?:[/?]|$)")),)

# What is answered without a login: probes have none, and are told no more than whether it works.
PROBES: Final = frozenset({monitoring.LIVE, monitoring.READY})

_ONE: Final = "/_jobs/{id}"
_DEFINITION: Final = "/_jobs/definitions/{id}"
_OPERATION: Final = "/_jobs/operations/{id}"


class NativeApi:
    """jobstore's own API."""

    def __init__(self, store: Store, router: Router, retention: Retention) -> None:
        jobs, messages = JobCalls(store, router), Messages(store)
        definitions, watched = DefinitionCalls(store, router), monitoring.Monitoring(store)
        submissions, operations = SubmissionCalls(store, router), BulkCalls(store)
        overviews = OverviewCalls(store, jobs.statistics)
        self.at_once = jobs.at_once
        listed, shown, targets = definitions.page, definitions.show, TargetCalls(store)
        self._calls: Mapping[str, Mapping[str, Call]] = {
            "/_jobs/definitions": {"GET": listed, "POST": definitions.create},
            _DEFINITION: {
                "GET": shown,
                "PATCH": definitions.change,
                "DELETE": definitions.delete,
            },
            f"{_DEFINITION}/run": {"POST": definitions.run},
            "/_jobs": {"GET": Listing(store).list, "POST": submissions.submit},
            "/_jobs/batch": {"POST": submissions.submit_batch},
            "/_jobs/operations": {"GET": operations.page, "POST": operations.create},
            _OPERATION: {"GET": operations.show, "DELETE": operations.stop},
            "/_jobs/activity": {"GET": overviews.activity},
            "/_jobs/statistics": {"GET": overviews.statistics},
            "/_jobs/store": {"GET": StoreCalls(store, retention).show},
            "/_jobs/targets": {"GET": targets.list},
            "/_jobs/targets/{name}": {"PATCH": targets.change},
            "/_jobs/audit": {"GET": targets.trail},
            monitoring.LIVE: {"GET": watched.live},
            monitoring.READY: {"GET": watched.ready},
            monitoring.METRICS: {"GET": watched.metrics},
            "/_jobs/openapi.json": {"GET": self._described},
            _ONE: {"GET": jobs.read, "DELETE": jobs.delete},
            f"{_ONE}/timeline": {"GET": jobs.timeline},
            f"{_ONE}/attempts": {"GET": jobs.attempts},
            f"{_ONE}/events": {"GET": Events(store).follow},
            f"{_ONE}/messages": {"GET": messages.heads},
            f"{_ONE}/request": {"GET": messages.request},
            f"{_ONE}/response": {"GET": messages.response},
            f"{_ONE}/take": {"POST": jobs.take},
            f"{_ONE}/cancel": {"POST": jobs.cancel},
            f"{_ONE}/retry": {"POST": jobs.retry},
            f"{_ONE}/restore": {"POST": jobs.restore},
            f"{_ONE}/report": {"POST": Reports(store).report},
            r"/_jobs/{tail:[\s\S]*}": {"*": no_such_call},
        }

    def add_routes(self, app: web.Application) -> None:
        """Add the calls to an application, and 404 for everything else below their paths."""
        add_calls(app.router, self._calls, refused)

    async def _described(self, _: web.Request) -> web.Response:
        """Return the OpenAPI description of the APIs."""
        return web.json_response(openapi())


def openapi() -> dict[str, object]:
    """Answer with the description of all APIs: OpenAPI 3.1."""
    text = resources.files("jobstore.dialects").joinpath("openapi.json").read_text("utf-8")
    document: dict[str, object] = json.loads(text)
    return document
