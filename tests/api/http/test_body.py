"""Bodies of requests as they arrive: read no faster than the handler reads."""

from __future__ import annotations

import trio

from tests.api.http.small import BUSY, Served, reset, send_until_full
from tests.api.wire import ask, connected, head


async def test_the_time_until_a_body_is_sent_is_the_clients_alone(served: Served) -> None:
    body = bytes(1 << 20)
    answer = await ask(served.port, "POST", "/busy", body)
    assert answer.json()["sent"] < BUSY <= answer.json()["read"]
    async with connected(served.port) as wire:
        await wire.send(head("POST", "/busy", {"Content-Length": str(len(body))}) + body[:-1])
        await trio.sleep(3 * BUSY)
        await wire.send(body[-1:])
        assert (await wire.answer()).json()["sent"] > BUSY


class TestBodies:
    async def test_one_is_fetched_no_faster_than_it_is_read(self, served: Served) -> None:
        """Quart collects bodies in memory, so without a limit a client could fill it while its handler is
        busy."""
        async with connected(served.port) as wire:
            await wire.send(head("POST", "/stuck", {"Content-Length": str(1 << 30)}))
            assert await send_until_full(wire) < 16 << 20  # in memory and in the kernel's buffers
            reset(wire)

    async def test_who_vanishes_behind_an_unread_one_is_noticed(self, served: Served) -> None:
        async with connected(served.port) as wire:
            await wire.send(head("POST", "/wait", {"Content-Length": str(1 << 30)}))
            await wire.stream.receive_some(100)
            await send_until_full(wire)
            reset(wire)
        await served.wait_for_connections(0)
