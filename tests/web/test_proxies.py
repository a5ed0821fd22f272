"""Whose address counts behind trusted proxies: the decision as a table."""

from ipaddress import ip_network

import pytest
from multidict import CIMultiDict

from jobstore.web.proxies import Proxies, customer

TRUSTING = Proxies([ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("2001:db8::/48")])
XFF = "X-Forwarded-For"


@pytest.mark.parametrize(
    ("peer", "fields", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("203.0.113.9", [(XFF, "198.51.100.7")], "203.0.113.9"),
        ("127.0.0.1", [(XFF, "198.51.100.7")], "198.51.100.7"),
        ("127.0.0.1", [(XFF, "6.6.6.6, 198.51.100.7")], "198.51.100.7"),
        ("127.0.0.1", [(XFF, "6.6.6.6, 198.51.100.7, 10.1.2.3")], "198.51.100.7"),
        ("127.0.0.1", [(XFF, "6.6.6.6"), (XFF, "198.51.100.7")], "198.51.100.7"),
        ("127.0.0.1", [(XFF, "10.9.9.9, 10.1.2.3")], "10.9.9.9"),
        ("127.0.0.1", [(XFF, "198.51.100.7:4711")], "198.51.100.7"),
        ("127.0.0.1", [(XFF, "[2001:db9::7]:4711")], "2001:db9::7"),
        ("127.0.0.1", [(XFF, "2001:DB9::0:7")], "2001:db9::7"),
        ("::ffff:127.0.0.1", [(XFF, "::ffff:198.51.100.7")], "198.51.100.7"),
        ("2001:db8::5", [(XFF, "198.51.100.7")], "198.51.100.7"),
        ("127.0.0.1", [(XFF, "198.51.100.7, unknown")], "127.0.0.1"),
        ("127.0.0.1", [(XFF, "198.51.100.7, _hidden, 10.0.0.1")], "10.0.0.1"),
        ("127.0.0.1", [(XFF, "")], "127.0.0.1"),
        ("127.0.0.1", [(XFF, "6" * 5000)], "127.0.0.1"),
        ("127.0.0.1", [(XFF, ", ".join(["10.0.0.1"] * 2000))], "10.0.0.1"),
        ("", [(XFF, "198.51.100.7")], ""),
        ("127.0.0.1", [("Forwarded", "for=198.51.100.7")], "198.51.100.7"),
        (
            "127.0.0.1",
            [("Forwarded", 'for=6.6.6.6, FOR="[2001:db9::7]:47";proto=http')],
            "2001:db9::7",
        ),
        ("127.0.0.1", [("Forwarded", 'for="6.6.6.6, for=198.51.100.7')], "198.51.100.7"),
        (
            "127.0.0.1",
            [("Forwarded", "for=198.51.100.7;by=10.0.0.1, for=10.2.2.2")],
            "198.51.100.7",
        ),
        ("127.0.0.1", [("Forwarded", "for=198.51.100.7, proto=http")], "127.0.0.1"),
        ("127.0.0.1", [("Forwarded", "for=6.6.6.6;for=198.51.100.7")], "127.0.0.1"),
        ("127.0.0.1", [(XFF, "198.51.100.7"), ("Forwarded", "for=198.51.100.7")], "198.51.100.7"),
        ("127.0.0.1", [(XFF, "198.51.100.7"), ("Forwarded", "for=6.6.6.6")], "127.0.0.1"),
    ],
)
def test_the_last_address_that_a_trusted_proxy_was_asked_from_counts(
    peer: str, fields: list[tuple[str, str]], client: str
) -> None:
    assert TRUSTING.client(peer, CIMultiDict(fields)) == client


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        ([], ""),
        ([(XFF, "198.51.100.7")], "198.51.100.7"),
        ([(XFF, "6.6.6.6, 198.51.100.7")], "198.51.100.7"),
        ([(XFF, "unknown")], ""),
        ([(XFF, "198.51.100.7"), ("Forwarded", "for=6.6.6.6")], ""),
    ],
)
def test_who_asks_over_a_socket_file_is_believed_if_that_is_said(
    fields: list[tuple[str, str]], client: str
) -> None:
    headers = CIMultiDict(fields)
    assert Proxies(["unix:"]).client("", headers) == client
    assert Proxies(["unix:"]).source("", headers) == (client or None)
    assert Proxies(["unix:"]).client("127.0.0.1", headers) == "127.0.0.1"
    assert Proxies([ip_network("127.0.0.0/8")]).client("", headers) == ""


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert Proxies().client("127.0.0.1", CIMultiDict({XFF: "198.51.100.7"})) == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "common"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("", ""),
    ],
)
def test_a_customer_has_one_address_or_one_network(address: str, common: str) -> None:
    assert customer(address) == common
