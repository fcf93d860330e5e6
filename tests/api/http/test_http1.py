"""Requests that the HTTP/1.1 parser accepts although h11 refuses them, and the refusal of HTTP/2 clients."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest

from tests.api.http.small import Served
from tests.api.wire import connected, head


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b"\r\n\r\n", b"\r\n" * 100])
async def test_blank_lines_before_a_request_are_ignored(served: Served, blank: bytes) -> None:
    async with connected(served.port) as wire:
        await wire.send(blank + head("POST", "/read", {"Content-Length": "3"}) + b"abc" + blank)
        assert (await wire.answer()).body == b"3"
        await wire.send(head("GET", "/", {}))
        assert (await wire.answer()).body == b"hello"
        for byte in blank:  # one read for each byte
            await wire.send(bytes([byte]))
        await wire.send(head("GET", "/", {"Connection": "close"}))
        assert (await wire.answer()).body == b"hello"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("rest", [b"\r\n", b"\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100_000])
async def test_what_follows_the_last_request_is_ignored(served: Served, version: str, rest: bytes) -> None:
    request = head("POST", "/read", {"Content-Length": "3", "Connection": "close"})
    request = request.replace(b"HTTP/1.1", f"HTTP/{version}".encode())
    for pieces in ([request + b"abc" + rest], [request + b"abc", rest]):
        async with connected(served.port) as wire:
            for piece in pieces:
                await wire.send(piece)
            assert (await wire.answer()).body == b"3"


async def test_a_request_that_cannot_be_parsed_is_told_why(served: Served) -> None:
    long = {"X-Long": "x" * 200_000}
    for fields, line, status, why in (
        (long, b"HTTP/1.1", 431, "too long"),
        ({"Transfer-Encoding": "gzip, chunked"}, b"HTTP/1.1", 501, "Transfer-Encoding must be chunked"),
        ({}, b"HTTP/3.0", 505, "HTTP/1.1"),
    ):
        async with connected(served.port) as wire:
            await wire.send(head("POST", "/read", fields).replace(b"HTTP/1.1", line))
            answer = await wire.answer()
            assert answer.status == status
            assert why in answer.json()["error"]


async def test_a_blank_line_in_a_body_belongs_to_it(served: Served) -> None:
    async with connected(served.port) as wire:
        await wire.send(head("POST", "/read", {"Content-Length": "8"}) + b"\r\n\r\n\r\n\r\n")
        assert (await wire.answer()).body == b"8"


async def test_a_client_of_http2_is_told_to_use_another_version(served: Served) -> None:
    """An HTTP/2 client cannot read an answer of HTTP/1.1, so it gets a GOAWAY frame with the error code
    HTTP_1_1_REQUIRED."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    async with connected(served.port) as wire:
        await wire.send(client.data_to_send())
        events = []
        while data := await wire.stream.receive_some(4096):
            events += client.receive_data(data)
    ended = [event for event in events if isinstance(event, h2.events.ConnectionTerminated)]
    assert [event.error_code for event in ended] == [h2.errors.ErrorCodes.HTTP_1_1_REQUIRED]
    assert b"HTTP/1.1" in (ended[0].additional_data or b"")


@pytest.mark.parametrize("extra", [{}, {"Connection": "Upgrade", "Upgrade": "h2c"}, {"Upgrade": "websocket"}])
async def test_a_websocket_address_asks_for_an_upgrade(served: Served, extra: dict[str, str]) -> None:
    async with connected(served.port) as wire:
        await wire.send(head("GET", "/ws", extra))
        answer = await wire.answer()
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.headers["connection"].lower() == "upgrade"
    assert answer.json()["errorCode"] == "invalid_format"
