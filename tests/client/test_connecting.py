"""Tests of connecting: addresses of servers, and why a handshake failed."""

from __future__ import annotations

import errno
import os
import socket

import pytest
import trio

from pinactors.client.connecting import NoServer, Unreachable, open_stream, split
from tests.client.playing import LIMIT, playing


async def test_a_failed_handshake_says_why() -> None:
    async def plain(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def silent(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    with trio.fail_after(LIMIT):
        async with playing(plain, silent) as url:
            for reason, lasting in (("WRONG_VERSION_NUMBER", True), ("EOF", False)):
                with pytest.raises(Unreachable, match=f"cannot connect: .*{reason}") as caught:
                    await open_stream(split(url.replace("http:", "https:")))
                assert isinstance(caught.value, NoServer) is lasting


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
        (OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)), False),
    ],
    ids=["unknown name", "no resolver", "refused"],
)
async def test_only_an_unknown_name_is_no_server(error: OSError, lasting: bool) -> None:
    async def dial(host: str, port: int) -> trio.SocketStream:
        raise error

    with pytest.raises(Unreachable, match="cannot connect: ") as caught:
        await open_stream(split("http://pins.example"), dial=dial)
    assert isinstance(caught.value, NoServer) is lasting


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
