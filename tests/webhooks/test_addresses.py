"""Tests of the URLs and addresses to which events may be sent."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
import trio

from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.webhooks.addresses import AddressRefused, Dialer, check_url, is_public


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com./",
        "https://my_shop.example.com/",
        "https://example.com:8443/pins?a=b",
        " https://192.0.2.7.example/ ",
    ],
)
def test_public_https_urls_will_do(url: str) -> None:
    assert check_url(url, private=False) == url.strip()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "//example.com/",
        "https://",
        "https://:443/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://me:secret@example.com/",
        "https://example.com/#part",
        "https://example.com/\nx",
        "https://example.com/a b",
        "https://exämple.com/",
        "https://a..example.com/x",
        "https://.example.com/",
        f"https://{'x' * 64}.example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://[/",
        "https://example.com/" + "x" * 2000,
    ],
)
def test_what_is_none_is_refused_by_name(url: str) -> None:
    with pytest.raises(PinactorsError) as refused:
        check_url(url, private=False)
    assert (refused.value.code, refused.value.field) == (ErrorCode.INVALID_FORMAT, "webhook")


def test_private_ones_are_a_setting() -> None:
    assert check_url("https://127.0.0.1:9/", private=True)
    with pytest.raises(PinactorsError, match="https"):
        check_url("http://127.0.0.1/", private=True)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::5db8:d70e", True),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("198.18.0.1", False),
        ("203.0.113.5", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fe80::1%2", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("192.0.0.192", False),
        ("::ffff:192.0.0.8", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("2001:0:53aa:64c:0:7f:f5ff:fffe", False),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


class Names(trio.abc.HostnameResolver):
    """A resolver that answers each lookup with the next of `answers` and counts the lookups in `asked`."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.answers.pop(0)
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.fixture
def resolve() -> Any:
    """A function that installs a resolver; trio does not call it for numeric addresses."""

    def use(names: Names) -> Names:
        trio.socket.set_custom_hostname_resolver(names)
        return names

    return use


async def test_a_name_with_private_addresses_only_is_refused(resolve: Any) -> None:
    names = resolve(Names(["127.0.0.1", "10.0.0.1"]))
    with trio.fail_after(120), pytest.raises(AddressRefused, match=r"pins\.example"):
        await Dialer()("pins.example", 443)
    assert names.asked == 1


async def test_a_name_that_no_server_can_have_is_refused() -> None:
    with pytest.raises(AddressRefused, match=r"^a\.\.example cannot be the name of a server$"):
        await Dialer()("a..example", 443)


async def test_a_name_is_resolved_once_and_only_checked_addresses_are_dialled(
    resolve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is not looked up a second time, which would give a private address."""
    names = resolve(Names(["127.0.0.1", "93.184.215.14"], ["127.0.0.1"]))
    dialled: list[tuple[str, int]] = []

    async def open_tcp_stream(host: str, port: int) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        dialled.append((host, port))
        raise OSError("no route")

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with trio.fail_after(120), pytest.raises(OSError, match="no route"):
        await Dialer()("pins.example", 443)
    assert (names.asked, dialled) == (1, [("93.184.215.14", 443)])
