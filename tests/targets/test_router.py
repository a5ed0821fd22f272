import re
from contextlib import AbstractAsyncContextManager

import pytest

from jobstore.model.handle import JobHandle
from jobstore.model.message import Request, Response
from jobstore.targets.router import PathClaim, Router, TargetRoute


class Nowhere:
    """A target that is never asked."""

    def send(self, request: Request, handle: JobHandle) -> AbstractAsyncContextManager[Response]:
        """Fail."""
        raise NotImplementedError


def route(name: str, *claims: PathClaim) -> TargetRoute:
    return TargetRoute(name=name, target=Nowhere(), concurrency=1, claims=claims)


OWN = route(
    "jobstore",
    PathClaim(re.compile(r"(?:/_db/[^/?]+)?/_(?:api|admin)/job(?:[/?]|$)")),
    PathClaim(re.compile("/api/data"), frozenset({"DELETE"})),
)
ROUTER = Router([route("/"), route("/api"), OWN, route("/api/reports"), route("/trailing/")])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "/"),
        ("/?x=1", "/"),
        ("/other", "/"),
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/api?x=/api/reports", "/api"),
        ("/api/x?y", "/api"),
        ("/apix", "/"),
        ("/API", "/"),
        ("/api/reports", "/api/reports"),
        ("/api/reports/7", "/api/reports"),
        ("/api/reportsx", "/api"),
        ("/x/api", "/"),
        ("/trailing", "/trailing/"),
        ("/trailing/x", "/trailing/"),
    ],
)
def test_the_longest_prefix_of_whole_segments_owns_a_path(path: str, name: str) -> None:
    found = ROUTER.resolve("GET", path)
    assert found
    assert found.name == name


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/_api/job", True),
        ("/_api/job/1/cancel", True),
        ("/_admin/job?x", True),
        ("/_db/mine/_api/job/done", True),
        ("/_api/jobs", False),
        ("/_db/a/b/_api/job", False),
        ("/x/_api/job", False),
    ],
)
def test_a_claim_goes_before_every_prefix(path: str, own: bool) -> None:
    assert (ROUTER.resolve("GET", path) is OWN) is own


def test_a_claim_may_be_to_some_methods_alone() -> None:
    assert ROUTER.resolve("DELETE", "/api/data?x") is OWN
    found = ROUTER.resolve("GET", "/api/data?x")
    assert found
    assert found.name == "/api"


def test_a_path_that_nobody_owns_has_no_route() -> None:
    assert Router([route("/api")]).resolve("GET", "/") is None
    assert Router([]).resolve("GET", "/") is None


def test_a_prefix_is_no_pattern() -> None:
    assert Router([route("/a.c")]).resolve("GET", "/abc") is None


def test_the_routes_are_in_the_order_in_which_they_are_asked() -> None:
    assert [found.name for found in ROUTER.routes] == [
        "jobstore",
        "/api/reports",
        "/trailing/",
        "/api",
        "/",
    ]
