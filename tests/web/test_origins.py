"""Which web pages may ask, and by which names: the decision as a table."""

import pytest
from multidict import CIMultiDict

from jobstore.web.origins import Rules, leave, let_read

APP = "https://app.example"
LOCAL = Rules()
TRUSTING = Rules.of([APP, "HTTP://Tools.Example:80"], ["jobs.example", "2001:DB8::1"], public=False)
PUBLIC = Rules.of([], ["buildbox.example"], public=True)


def headers(**fields: str) -> CIMultiDict[str]:
    """Give a request's headers: underscores stand for hyphens."""
    return CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8529",
        "LocalHost.:8529",
        "demo.localhost:1",
        "127.0.0.1",
        "127.8.9.10:8529",
        "[::1]:8529",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]:80",
        "",
    ],
)
def test_a_loopback_name_reaches_a_server_without_accounts(host: str) -> None:
    assert LOCAL.decide(headers(Host=host), anonymous=True).status == 0


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8529",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "192.168.0.7:8529",
        "0.0.0.0",
        "[::]",
        "localhost:port",
        "user@localhost",
        "[::1",
        "::1",
        "localhost/..",
        "local host",
        "." * 5000,
    ],
)
def test_no_other_name_does(host: str) -> None:
    assert LOCAL.decide(headers(Host=host), anonymous=True).status == 421
    assert LOCAL.decide(headers(Host=host), anonymous=False).status == 0


def test_who_names_no_host_is_no_browser() -> None:
    assert LOCAL.decide(headers(), anonymous=True).status == 0


def test_all_names_of_a_request_count() -> None:
    twice = CIMultiDict([("Host", "localhost"), ("Host", "evil.example")])
    assert LOCAL.decide(twice, anonymous=True).status == 421
    absolute = LOCAL.decide(headers(Host="localhost"), "evil.example:80", anonymous=True)
    assert absolute.status == 421


@pytest.mark.parametrize(
    "host",
    ["jobs.example", "JOBS.example.:443", "[2001:db8:0::1]:8529", "app.example", "localhost"],
)
def test_a_configured_name_reaches_it_too_and_so_does_that_of_a_trusted_origin(host: str) -> None:
    assert TRUSTING.decide(headers(Host=host), anonymous=True).status == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.0.0.7:8529", 0),
        ("[fe80::1]:8529", 0),
        ("jobstore:8529", 0),  # a service's name in a network of containers
        ("printer.local", 0),
        ("jobs.default.svc.cluster.local", 0),
        ("buildbox.example", 0),
        ("evil.example", 421),
        ("10.0.0.7.evil.example", 421),
    ],
)
def test_an_open_server_is_reached_by_what_no_stranger_can_name(host: str, status: int) -> None:
    assert PUBLIC.decide(headers(Host=host), anonymous=True).status == status


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "null"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "https://public.name.of.a.proxy"},
        {"Origin": "http://localhost:8529"},
        {"Origin": "http://LOCALHOST:8529"},
        {"Origin": "https://localhost:8529"},  # through a proxy that ends TLS
    ],
)
def test_a_script_and_a_page_of_the_server_itself_notice_nothing(fields: dict[str, str]) -> None:
    decision = LOCAL.decide(headers(Host="localhost:8529", **fields), anonymous=True)
    assert (decision.status, decision.page) == (0, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://localhost"},
        {"Origin": "http://127.0.0.1:8529"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:8529", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://evil.example", "Sec_Fetch_Site": "none"},
        {"Origin": f"{APP}.evil.example"},
        {"Origin": "http://app.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "Cross-Site"},
        {"Sec_Fetch_Site": "something new"},
    ],
)
def test_a_page_of_another_origin_may_not_ask(fields: dict[str, str]) -> None:
    asked = headers(Host="localhost:8529", **fields)
    assert TRUSTING.decide(asked, anonymous=True).status == 403
    assert TRUSTING.decide(asked, anonymous=False).status == 403


def test_two_origins_are_no_origin() -> None:
    for second in ("http://evil.example", APP):
        twice = CIMultiDict([("Host", "localhost"), ("Origin", APP), ("Origin", second)])
        assert TRUSTING.decide(twice, anonymous=True).status == 403


@pytest.mark.parametrize("origin", [APP, "https://app.example:443", "http://tools.example"])
@pytest.mark.parametrize("site", ["", "cross-site", "same-site"])
def test_a_page_of_a_trusted_origin_may(origin: str, site: str) -> None:
    asked = headers(Host="localhost:8529", Origin=origin, Sec_Fetch_Site=site)
    decision = TRUSTING.decide(asked, anonymous=True)
    assert (decision.status, decision.page) == (0, origin)


def test_a_port_that_is_the_default_may_be_left_out() -> None:
    for host, origin in [("x.localhost", "http://x.localhost:80"), ("[::1]:443", "https://[::1]")]:
        assert LOCAL.decide(headers(Host=host, Origin=origin), anonymous=True).status == 0


# --- CORS ---------------------------------------------------------------------------------------


def test_a_preflight_is_granted_what_exists_and_no_more() -> None:
    asked = headers(
        Access_Control_Request_Method="BREW",
        Access_Control_Request_Headers="prefer, X-Mine,authorization,,bad name, prefer",
    )
    granted = leave(asked, submission=False)
    assert granted["Access-Control-Allow-Methods"] == "DELETE, GET, HEAD, PATCH, POST, PUT"
    assert granted["Access-Control-Allow-Headers"] == "prefer, authorization"
    assert granted["Access-Control-Max-Age"] == "3600"
    granted = leave(asked, submission=True)
    assert granted["Access-Control-Allow-Methods"].endswith(", PUT, BREW")
    assert granted["Access-Control-Allow-Headers"] == "prefer, x-mine, authorization"


def test_an_answer_says_once_who_may_read_it_and_keeps_what_it_says_besides() -> None:
    answer = headers(
        Access_Control_Allow_Origin="*",
        Access_Control_Expose_Headers="X-Mine, location",
        Vary="Accept",
    )
    answer.add("Vary", "origin")
    let_read(answer, APP)
    let_read(answer, APP)
    assert answer.getall("Access-Control-Allow-Origin") == [APP]
    assert answer.getall("Access-Control-Allow-Credentials") == ["true"]
    assert answer.getall("Vary") == ["Accept, Origin"]
    assert answer.getall("Access-Control-Expose-Headers") == [
        "X-Mine, Location, x-arango-async-id, Preference-Applied, Retry-After, Jobstore-Status"
    ]
