"""Tests of the follower actor with a scripted transport, on trio's autojump clock."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from pinactors.client.connecting import Broken, NoServer, NotPinactors, Unreachable
from pinactors.client.follower import (
    BUSY_PAUSE_SECONDS,
    MAX_RESTARTS,
    PAUSES,
    FollowedSession,
    Follower,
    NetworkError,
    OnPacket,
    Received,
)
from pinactors.protocol import (
    UPLOAD_BROKEN_OFF,
    UPLOAD_INTERRUPTED,
    UPLOAD_STALLED,
    ErrorCode,
    PinactorsError,
)

KINDS = [
    "CONNECTION_ESTABLISHED",
    "PROCESSING_STARTED",
    "AUTHENTICATION_RESULT",
    "PRICING_ANALYSIS",
    "ANALYSIS_COMPLETE",
]


def packet(sequence: int, kind: str | None = None, **fields: Any) -> bytes:
    body = {"packetType": kind or KINDS[sequence], "sequence": sequence, **fields}
    if body["packetType"] == "CONNECTION_ESTABLISHED":
        body.setdefault("streamId", "first")
    return json.dumps(body).encode()


WHOLE = [packet(number) for number in range(len(KINDS))]

Step = bytes | Exception


@dataclass
class Scripted:
    """A transport of which each connection plays the next of `scripts`, and `then` when none is left. A
    script lists packets to hand over and exceptions to raise."""

    scripts: list[list[Step]]
    then: list[Step] = field(default_factory=lambda: [Broken("nobody there")])
    calls: list[tuple[str, float]] = field(default_factory=list)
    completes: bool = True
    on_activity: Callable[[], None] = lambda: None

    async def upload(self, session: FollowedSession, on_packet: OnPacket) -> None:
        self.calls.append(("upload", trio.current_time()))
        session.complete = self.completes
        await self._play(on_packet)

    async def follow(self, stream_id: str, position: int, on_packet: OnPacket) -> None:
        self.calls.append((f"{stream_id}:{position}", trio.current_time()))
        await self._play(on_packet)

    async def _play(self, on_packet: OnPacket) -> None:
        await trio.lowlevel.checkpoint()
        for step in self.scripts.pop(0) if self.scripts else self.then:
            if isinstance(step, Exception):
                raise step
            self.on_activity()
            if not await on_packet(step):
                return

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    @property
    def pauses(self) -> list[float]:
        times = [time for _, time in self.calls]
        return [later - earlier for earlier, later in pairwise(times)]


async def follow(
    transport: Scripted,
    session: FollowedSession | None = None,
    *,
    can_upload: bool = True,
    unreachable_seconds: float = 180,
    reached: bool = False,
) -> list[Received | Exception]:
    """Runs a follower to its end and returns all packets and the error that it sent."""
    sink, source = trio.open_memory_channel[Received | Exception](0)
    follower = Follower(
        transport,
        session or FollowedSession(),
        sink,
        can_upload=can_upload,
        unreachable_seconds=unreachable_seconds,
        reached=reached,
    )
    transport.on_activity = follower.on_activity
    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            return [item async for item in source]  # noqa: ASYNC121 - the follower has ended by then
    raise AssertionError


def raws(items: list[Received | Exception]) -> list[bytes]:
    assert all(isinstance(item, Received) for item in items), items
    return [item.raw for item in items if isinstance(item, Received)]


def failure(items: list[Received | Exception]) -> Exception:
    assert isinstance(items[-1], Exception)
    return items[-1]


async def test_an_undisturbed_upload_needs_one_connection(autojump_clock: MockClock) -> None:
    transport = Scripted([WHOLE])
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload"]


async def test_a_break_before_the_name_is_known_sends_the_upload_again(autojump_clock: MockClock) -> None:
    transport = Scripted([[Broken("x")], [Broken("y")], WHOLE])
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload"] * 3


async def test_a_break_behind_it_follows_from_there(autojump_clock: MockClock) -> None:
    transport = Scripted([[*WHOLE[:2], Broken("x")], [WHOLE[2], Broken("y")], WHOLE[3:]])
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload", "first:2", "first:3"]


async def test_a_connection_that_just_ends_is_a_break_too(autojump_clock: MockClock) -> None:
    transport = Scripted([WHOLE[:3], WHOLE[3:]])
    assert raws(await follow(transport)) == WHOLE


async def test_what_was_had_is_not_handed_out_again(autojump_clock: MockClock) -> None:
    transport = Scripted([[*WHOLE[:3], Broken("x")], [*WHOLE[:4], Broken("y")], WHOLE[4:]])
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload", "first:3", "first:4"]


async def test_a_gap_is_never_handed_out(autojump_clock: MockClock) -> None:
    transport = Scripted([[WHOLE[0], WHOLE[2]], WHOLE[1:]])
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload", "first:1"]


async def test_nothing_follows_the_terminal_packet(autojump_clock: MockClock) -> None:
    transport = Scripted([[*WHOLE, packet(5, "PRICING_ANALYSIS")]])
    assert raws(await follow(transport)) == WHOLE


async def test_an_error_packet_is_handed_out_and_ends_the_session(autojump_clock: MockClock) -> None:
    error = packet(1, "ERROR", errorCode="processing_error")
    transport = Scripted([[WHOLE[0], error]])
    assert raws(await follow(transport)) == [WHOLE[0], error]


async def test_the_pauses_grow_to_a_limit_and_are_spread(autojump_clock: MockClock) -> None:
    transport = Scripted([[Broken("x")] for _ in range(12)] + [WHOLE])
    await follow(transport)
    pauses = transport.pauses
    limits = [min(PAUSES.limit, 0.25 * 2**n) for n in range(len(pauses))]
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, limits, strict=True))
    assert len({round(pause / limit, 6) for pause, limit in zip(pauses, limits, strict=True)}) > 6


async def test_progress_makes_the_pauses_short_again(autojump_clock: MockClock) -> None:
    broken: list[Step] = [Broken("x")]
    transport = Scripted([broken] * 6 + [[*WHOLE[:3], Broken("x")], WHOLE[3:]])
    assert raws(await follow(transport)) == WHOLE
    assert transport.pauses[5] > 1
    assert transport.pauses[6] <= 0.25


async def test_it_gives_up_when_nobody_can_be_reached_for_too_long(autojump_clock: MockClock) -> None:
    transport = Scripted([[WHOLE[0], Broken("x")]])
    began = trio.current_time()
    items = await follow(transport, unreachable_seconds=60)
    assert isinstance(failure(items), NetworkError)
    assert "60 s" in str(failure(items))
    assert 60 - PAUSES.limit <= trio.current_time() - began <= 60


async def test_a_busy_server_is_asked_again_when_it_said(autojump_clock: MockClock) -> None:
    busy = PinactorsError(ErrorCode.OVERLOADED, "Too busy", retry_after=17, status=503)
    limited = PinactorsError(ErrorCode.OVERLOADED, "Too many", retry_after=40, status=429)
    transport = Scripted([[busy], [limited], WHOLE])
    assert raws(await follow(transport)) == WHOLE
    assert transport.pauses == [17, 40]


async def test_a_busy_server_is_not_unreachable(autojump_clock: MockClock) -> None:
    """The server answers, so only the caller's own deadline limits the waiting."""
    busy = PinactorsError(ErrorCode.OVERLOADED, "Too busy", retry_after=30, status=503)
    transport = Scripted([[busy] for _ in range(20)] + [WHOLE])
    assert raws(await follow(transport, unreachable_seconds=60)) == WHOLE


REFUSALS = [
    PinactorsError(ErrorCode.UNAUTHORIZED, "Unauthorized", status=401),
    PinactorsError(ErrorCode.MISSING_IMAGE, "Front image required", status=400),
    PinactorsError(ErrorCode.TOO_LARGE, "Too large", status=413),
    PinactorsError(ErrorCode.SESSION_CONFLICT, "Conflict", status=422),
    PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Nothing here", status=404),
    NotPinactors("an HTML page"),
    FileNotFoundError("front.jpg"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
async def test_a_refusal_is_not_asked_for_twice(refusal: Exception, autojump_clock: MockClock) -> None:
    transport = Scripted([[refusal]])
    assert await follow(transport) == [refusal]
    assert transport.names == ["upload"]


async def test_a_refusal_in_a_packet_of_its_own(autojump_clock: MockClock) -> None:
    """A WebSocket delivers a refusal as an ERROR packet without a session before it."""
    error = packet(
        0, "ERROR", errorCode="unauthorized", message="Unauthorized", error="A valid key is needed"
    )
    items = await follow(Scripted([[error]]))
    refusal = failure(items)
    assert isinstance(refusal, PinactorsError)
    assert (refusal.code, refusal.detail) == (ErrorCode.UNAUTHORIZED, "A valid key is needed")
    assert len(items) == 1


async def test_a_refusal_to_follow_in_a_packet_of_its_own(autojump_clock: MockClock) -> None:
    error = packet(0, "ERROR", errorCode="stream_not_found")
    items = await follow(Scripted([[error]]), FollowedSession("first", 2, complete=True), can_upload=False)
    refusal = failure(items)
    assert isinstance(refusal, PinactorsError)
    assert refusal.code is ErrorCode.STREAM_NOT_FOUND


async def test_a_lost_session_is_started_again_without_repeating_anything(autojump_clock: MockClock) -> None:
    gone = PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream not found", status=404)
    again = [packet(0, streamId="second"), *WHOLE[1:]]
    transport = Scripted([[*WHOLE[:3], Broken("x")], [gone], [*again[:4], Broken("y")], again[4:]])
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload", "first:3", "upload", "second:4"]


async def test_a_session_is_not_started_again_for_ever(autojump_clock: MockClock) -> None:
    gone = PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream not found", status=410)
    scripts: list[list[Step]] = []
    for number in range(MAX_RESTARTS + 1):
        scripts += [[packet(0, streamId=f"s{number}"), Broken("x")], [gone]]
    transport = Scripted(scripts)
    assert failure(await follow(transport)) is gone
    assert transport.names.count("upload") == MAX_RESTARTS + 1


async def test_a_followed_session_that_is_lost_is_lost(autojump_clock: MockClock) -> None:
    gone = PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream not found", status=404)
    transport = Scripted([[gone]])
    assert await follow(transport, FollowedSession("first", 2, complete=True), can_upload=False) == [gone]
    assert transport.names == ["first:2"]


async def test_an_upload_that_was_joined_to_an_earlier_one(autojump_clock: MockClock) -> None:
    """On a WebSocket the server may find the earlier session after it has sent the first packets."""
    joined = [packet(0, streamId="earlier"), *WHOLE[1:]]
    transport = Scripted([[*WHOLE[:2], *joined[:2], Broken("x")], joined[2:]])
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload", "earlier:2"]


async def test_an_upload_that_did_not_arrive_whole_is_sent_again(autojump_clock: MockClock) -> None:
    """Packets arrive before the upload is complete: following the session would give one without a back
    image."""
    transport = Scripted([[*WHOLE[:2], Broken("x")], WHOLE], completes=False)
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload", "upload"]


async def test_an_upload_that_the_server_gave_up_is_sent_again(autojump_clock: MockClock) -> None:
    stalled = packet(1, "ERROR", errorCode="cancelled")
    transport = Scripted([[WHOLE[0], stalled], [packet(0, streamId="second"), *WHOLE[1:]]], completes=False)
    assert raws(await follow(transport)) == WHOLE


@pytest.mark.parametrize("message", [UPLOAD_BROKEN_OFF, UPLOAD_INTERRUPTED, UPLOAD_STALLED])
async def test_an_upload_that_was_written_and_did_not_arrive_is_sent_again(
    message: str, autojump_clock: MockClock
) -> None:
    """Bytes that the kernel accepted may never reach the server."""
    lost = packet(1, "ERROR", errorCode="processing_error", message=message)
    transport = Scripted([[WHOLE[0], Broken("x")], [lost], [packet(0, streamId="second"), *WHOLE[1:]]])
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload", "first:1", "upload"]


async def test_an_upload_the_server_had_no_room_for_is_sent_again(autojump_clock: MockClock) -> None:
    full = packet(1, "ERROR", errorCode="overloaded", message="Storage unavailable", error="its disk is full")
    transport = Scripted([[WHOLE[0], full], [packet(0, streamId="second"), *WHOLE[1:]]])
    assert raws(await follow(transport)) == WHOLE
    assert transport.names == ["upload", "upload"]
    assert transport.pauses[0] >= BUSY_PAUSE_SECONDS
    transport = Scripted([], then=[WHOLE[0], full])
    assert raws(await follow(transport)) == [WHOLE[0], full], "not for ever"
    assert transport.names == ["upload"] * (1 + MAX_RESTARTS)


async def test_a_bad_photograph_is_not_sent_again(autojump_clock: MockClock) -> None:
    bad = packet(1, "ERROR", errorCode="invalid_format")
    transport = Scripted([[WHOLE[0], bad]], completes=False)
    assert raws(await follow(transport)) == [WHOLE[0], bad]


@pytest.mark.parametrize(
    "garbage", [b"<html>", b"[]", b"{}", b'{"packetType": "X"}', b'{"packetType": 1, "sequence": 0}', b"\xff"]
)
async def test_what_is_no_packet_ends_it(garbage: bytes, autojump_clock: MockClock) -> None:
    items = await follow(Scripted([[garbage]]))
    assert isinstance(failure(items), NotPinactors)
    assert len(items) == 1


async def test_a_slow_caller_holds_the_delivery_and_not_the_other_way_round(
    autojump_clock: MockClock,
) -> None:
    sink, source = trio.open_memory_channel[Received | Exception](0)
    follower = Follower(Scripted([WHOLE]), FollowedSession(), sink, can_upload=True, unreachable_seconds=60)
    got: list[Awaitable[None] | bytes] = []
    with trio.fail_after(600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            async for item in source:
                assert isinstance(item, Received)
                got.append(item.raw)
                await trio.sleep(50)
    assert got == WHOLE


async def test_a_server_that_does_not_exist_ends_the_delivery_at_once(autojump_clock: MockClock) -> None:
    transport = Scripted([], then=[NoServer("cannot connect: unknown name")])
    error = failure(await follow(transport))
    assert isinstance(error, NetworkError)
    assert str(error) == "cannot connect: unknown name"
    assert transport.names == ["upload"]
    assert trio.current_time() == transport.calls[0][1]


async def test_a_server_that_was_reached_may_come_back(autojump_clock: MockClock) -> None:
    """A phone that has lost its network cannot look up names either."""
    away: list[Step] = [NoServer("cannot connect: unknown name")]
    here = Scripted([[*WHOLE[:2], Broken("x")], away, away, WHOLE[2:]])
    assert raws(await follow(here)) == WHOLE
    before = Scripted([away, away, WHOLE])
    assert raws(await follow(before, reached=True)) == WHOLE


async def test_a_server_that_cannot_be_reached_is_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    transport = Scripted([[Unreachable("cannot connect: refused")] for _ in range(3)] + [WHOLE])
    assert raws(await follow(transport, unreachable_seconds=60)) == WHOLE
    assert caplog.messages == ["cannot connect: refused; trying for 60 s"]
    caplog.clear()
    later = Scripted([[*WHOLE[:2], Broken("x")], [Unreachable("cannot connect: refused")], WHOLE[2:]])
    assert raws(await follow(later)) == WHOLE
    assert caplog.messages == []
