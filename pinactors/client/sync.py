"""The client for programs without trio: each function runs to its end and returns.

from pinactors.client import View, sync

answer = sync.analyze("http://127.0.0.1:8080", {View.FRONT: Path("front.jpg")})
print(answer["verdict"])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from pinactors.client import session
from pinactors.client.follower import Received
from pinactors.client.uploads import Photograph
from pinactors.protocol import View


def analyze(
    server: str,
    images: Mapping[View, Photograph],
    *,
    seconds: float | None = None,
    on_packet: Callable[[Received], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Uploads photographs and returns the merged answer; `on_packet` is called with each packet when it
    arrives.

    `options` are those of `pinactors.client.analyze`, whose errors this function raises too; it raises
    `TimeoutError` after `seconds`.
    """

    async def within() -> dict[str, Any]:
        async with session.analyze(server, images, **options) as packets:
            async for packet in packets:
                if on_packet is not None:
                    on_packet(packet)
            return await packets.answer()

    return _within(within, seconds)


def follow(server: str, stream_id: str, *, seconds: float | None = None, **options: Any) -> dict[str, Any]:
    """Waits for the end of an existing session and returns its merged answer."""

    async def within() -> dict[str, Any]:
        async with session.follow(server, stream_id, **options) as packets:
            return await packets.answer()

    return _within(within, seconds)


def cancel(server: str, stream_id: str, *, key: str | None = None) -> None:
    """See `pinactors.client.cancel`."""

    async def within() -> None:
        await session.cancel(server, stream_id, key=key)

    trio.run(within)


def confirm(server: str, record_number: int, pin_id: str, **options: Any) -> dict[str, Any]:
    """See `pinactors.client.confirm`."""

    async def within() -> dict[str, Any]:
        return await session.confirm(server, record_number, pin_id, **options)

    return trio.run(within)


def _within(work: Callable[[], Any], seconds: float | None) -> dict[str, Any]:
    async def bounded() -> dict[str, Any]:
        if seconds is None:
            return dict(await work())
        with trio.move_on_after(seconds):
            return dict(await work())
        raise TimeoutError(f"no answer within {seconds:g} s")

    return trio.run(bounded)
