"""Tests of connecting: addresses of servers, and why a handshake failed."""

from __future__ import annotations

import pytest
import trio

from pinactors.client.connecting import Unreachable, open_stream, split
from tests.client.playing import LIMIT, playing


async def test_a_failed_handshake_says_why() -> None:
    async def plain(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def silent(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    with trio.fail_after(LIMIT):
        async with playing(plain, silent) as url:
            for reason in ("WRONG_VERSION_NUMBER", "EOF"):
                with pytest.raises(Unreachable, match=f"cannot connect: .*{reason}"):
                    await open_stream(split(url.replace("http:", "https:")))


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("http://pins.example", "pins.example", None),
        ("https://pins.example:8443/base", "pins.example", 8443),
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("http://[::1]:8080", "::1", 8080),
    ],
)
def test_addresses(server: str, host: str, port: int | None) -> None:
    url = split(server)
    assert (url.hostname, url.port) == (host, port)


@pytest.mark.parametrize("server", ["", "ftp://pins.example", "http://", "http:///path", "http://host:port"])
def test_what_is_no_address(server: str) -> None:
    with pytest.raises(ValueError):
        split(server)
