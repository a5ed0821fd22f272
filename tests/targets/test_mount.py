"""How paths in front stand for those of a target, and its places for those in front."""

import pytest

from jobstore.model.message import Headers, Request
from jobstore.targets.mount import Mount

ROOT = Mount(origin="http://127.0.0.1:9000")
CUT = Mount(prefix="/api", origin="http://127.0.0.1:9000")
BASED = Mount(base="/app", origin="https://svc.example")
BOTH = Mount(prefix="/api", base="/app", origin="http://svc:9000")
IN_PROCESS = Mount(prefix="/api")


@pytest.mark.parametrize(
    ("mount", "path", "asked"),
    [
        (ROOT, "/a/b?c#d", "/a/b?c"),
        (ROOT, "@evil", "/@evil"),
        (CUT, "/api", "/"),
        (CUT, "/api/", "/"),
        (CUT, "/api?x=1", "/?x=1"),
        (CUT, "/api/x%2Fy//z", "/x%2Fy//z"),
        (BASED, "/x", "/app/x"),
        (BOTH, "/api/x", "/app/x"),
        (BOTH, "/api", "/app/"),
    ],
)
def test_a_path_in_front_is_one_of_the_target(mount: Mount, path: str, asked: str) -> None:
    assert mount.path(path) == asked


HOST = ("Host", "shop.example:81")


@pytest.mark.parametrize(
    ("mount", "place", "told"),
    [
        (ROOT, "http://127.0.0.1:9000/x?y#z", "http://shop.example:81/x?y#z"),
        (ROOT, "HTTP://127.0.0.1:9000", "http://shop.example:81/"),
        (ROOT, "//127.0.0.1:9000/x", "http://shop.example:81/x"),
        (ROOT, "http://127.0.0.1:9001/x", "http://127.0.0.1:9001/x"),
        (ROOT, "https://127.0.0.1:9000/x", "https://127.0.0.1:9000/x"),
        (ROOT, "https://elsewhere.example/x", "https://elsewhere.example/x"),
        (ROOT, "http://shop.example:81/x", "http://shop.example:81/x"),
        (ROOT, "/x", "/x"),
        (ROOT, "../x", "../x"),
        (ROOT, "?page=2", "?page=2"),
        (ROOT, "", ""),
        (ROOT, "mailto:a@b", "mailto:a@b"),
        (ROOT, "http://127.0.0.1:9000@evil/x", "http://127.0.0.1:9000@evil/x"),
        (CUT, "/x", "/api/x"),
        (CUT, "/", "/api/"),
        (CUT, "x", "x"),
        (CUT, "http://127.0.0.1:9000/x", "http://shop.example:81/api/x"),
        (CUT, "http://shop.example:81/x", "http://shop.example:81/api/x"),
        (CUT, "https://shop.example:81/x", "https://shop.example:81/api/x"),
        (CUT, "https://other.example/x", "https://other.example/x"),
        (CUT, "/api/x", "/api/x"),
        (CUT, "/apix", "/api/apix"),
        (CUT, "http://shop.example:81/api?x", "http://shop.example:81/api?x"),
        (CUT, "http://127.0.0.1:9000/api/x", "http://shop.example:81/api/api/x"),
        (BASED, "/app/x", "/x"),
        (BASED, "/app", "/"),
        (BASED, "/app?x", "/?x"),
        (BASED, "/apple", "/apple"),
        (BASED, "/login", "/login"),
        (BASED, "https://svc.example:443/app/x", "http://shop.example:81/x"),
        (BASED, "https://svc.example/login", "https://svc.example/login"),
        (BOTH, "http://svc:9000/app/x", "http://shop.example:81/api/x"),
        (BOTH, "/app/", "/api/"),
        (IN_PROCESS, "/x", "/api/x"),
        (IN_PROCESS, "http://shop.example:81/x", "http://shop.example:81/api/x"),
        (IN_PROCESS, "http://elsewhere/x", "http://elsewhere/x"),
    ],
)
def test_a_place_of_the_target_is_told_as_one_in_front(mount: Mount, place: str, told: str) -> None:
    headers: Headers = (("location", place), ("X-Place", place), ("Content-Location", place))
    request = Request(method="GET", path="/api/a", headers=(HOST,))
    assert mount.places(headers, request) == (
        ("location", told),
        ("X-Place", place),
        ("Content-Location", told),
    )


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ((HOST, ("Jobstore-Front", "https://pub.example")), "https://pub.example/x"),
        ((HOST, ("Jobstore-Front", "https://shop.example:81")), "https://shop.example:81/x"),
        ((), "/x"),
    ],
)
def test_it_is_told_by_the_name_that_the_client_has_asked_for(headers: Headers, told: str) -> None:
    request = Request(method="GET", path="/", headers=headers)
    place = (("Location", "http://127.0.0.1:9000/x"),)
    assert ROOT.places(place, request) == (("Location", told),)
