"""WebSocket upgrades that are none, or that no WebSocket follows."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from tests.api.http.small import UPGRADE, Served
from tests.api.wire import connected, head


class TestNoWebSocket:
    @pytest.mark.parametrize(
        "junk", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x88\x00" * 9]
    )
    @pytest.mark.parametrize("early", [True, False])
    async def test_junk_behind_a_websocket_upgrade(self, served: Served, junk: bytes, early: bool) -> None:
        """In plain Hypercorn such bytes end the server, or leave the connection open forever."""
        async with connected(served.port) as wire:
            await wire.send(head("GET", "/ws", UPGRADE) + (junk if early else b""))
            await wire.stream.receive_some(1000)
            with suppress(trio.BrokenResourceError):
                await wire.send(junk)
            while not await wire.is_closed():
                pass
        await served.wait_for_connections(0)

    @pytest.mark.parametrize("absent", ["Sec-WebSocket-Key", "Sec-WebSocket-Version"])
    async def test_half_a_websocket_upgrade_is_refused_and_closed(self, served: Served, absent: str) -> None:
        async with connected(served.port) as wire:
            await wire.send(head("GET", "/ws", {key: UPGRADE[key] for key in UPGRADE if key != absent}))
            assert (await wire.answer()).status == 400
            assert await wire.is_closed()
        await served.wait_for_connections(0)


async def test_another_version_of_websocket_hears_which_one_is_spoken(served: Served) -> None:
    async with connected(served.port) as wire:
        await wire.send(head("GET", "/ws", UPGRADE | {"Sec-WebSocket-Version": "8"}))
        answer = await wire.answer()
        assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")
        assert answer.headers["upgrade"] == "websocket"
        assert "upgrade" in answer.headers["connection"].lower()
        assert answer.json()["field"] == "Sec-WebSocket-Version"


async def test_a_handshake_that_is_none_is_refused_with_a_reason(served: Served) -> None:
    async with connected(served.port) as wire:
        without_key = {name: value for name, value in UPGRADE.items() if name != "Sec-WebSocket-Key"}
        await wire.send(head("GET", "/ws", without_key))
        answer = await wire.answer()
        assert (answer.status, answer.json()["message"]) == (400, "Invalid WebSocket handshake")
