import pytest

from jobstore.model.route import route_of


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/reports/daily", "/reports/daily"),
        ("/thumbs/17", "/thumbs/{}"),
        ("/thumbs/17?size=2", "/thumbs/{}"),
        ("/thumbs/17/", "/thumbs/{}/"),
        ("/7/8/9", "/{}/{}/{}"),
        ("/v2/users/0042/mails", "/v2/users/{}/mails"),
        ("/d/123e4567-e89b-12d3-a456-426614174000", "/d/{}"),
        ("/D/123E4567-E89B-12D3-A456-426614174000/x", "/D/{}/x"),
        ("/blobs/9f86d081884c7d65", "/blobs/{}"),
        ("/blobs/9f86d081884c7d6", "/blobs/9f86d081884c7d6"),
        ("/blobs/effaceeffaceefface", "/blobs/effaceeffaceefface"),
        ("/links/dGhpcyBpcyBhIHRva2Vu1A==", "/links/{}"),
        ("/links/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/links/{}"),
        ("/links/V1StGXR8_Z5jdHi6B-myT", "/links/{}"),
        ("/notification-preferences-2025", "/notification-preferences-2025"),
        ("/TheVeryLongNameOfAnExport", "/TheVeryLongNameOfAnExport"),
        ("/files/2025-01-31", "/files/2025-01-31"),
        ("/files/17.png", "/files/17.png"),
        ("/a%2F17", "/a%2F17"),
        ("/d%C3%A9p%C3%B4t/5", "/d%C3%A9p%C3%B4t/{}"),
        ("/?a=/17", "/"),
        ("/" + "x" * 300, "/" + "x" * 199 + "..."),
    ],
)
def test_what_names_a_single_thing_is_left_out_of_a_path(path: str, route: str) -> None:
    assert route_of(path) == route
