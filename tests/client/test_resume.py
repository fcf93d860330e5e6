"""Tests with connections that break at each byte of an answer: the client must still receive every packet."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from pinactors.api.streams import polls
from pinactors.backoff import Backoff
from pinactors.client import analyze, follow, follower
from pinactors.client.session import TransportName
from pinactors.protocol import View
from tests.api.conftest import Process
from tests.api.site import PACKETS, Site
from tests.client.relay import Relay, relaying

EVERY: list[TransportName] = ["ndjson", "long-poll", "websocket"]


@dataclass
class Finished:
    """A relay to a server that holds a finished session."""

    relay: Relay

    async def read(self, transport: TransportName) -> list[bytes]:
        with trio.fail_after(120):
            async with follow(self.relay.url, "s", transport=transport) as packets:
                return [packet.raw async for packet in packets]


@pytest.fixture
async def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Finished]:
    monkeypatch.setattr(follower, "PAUSES", Backoff(0.0, 8.0))
    monkeypatch.setattr(polls, "READS_AT_ONCE", math.inf)  # no client reads a stream this often
    site = Site(tmp_path)
    site.log(len(PACKETS), closed=True)
    async with site.listening() as port, relaying(port) as relay:
        yield Finished(relay)


@pytest.mark.parametrize("transport", EVERY)
async def test_a_break_at_every_byte_of_an_answer(finished: Finished, transport: TransportName) -> None:
    relay = finished.relay
    relay.plan()
    assert await finished.read(transport) == PACKETS
    whole = relay.delivered
    body = sum(map(len, PACKETS)) + 50
    assert whole > body + 100
    # Over HTTP a cut at any byte of the head has the same effect: no packet has come. Testing every byte with
    # one transport is enough.
    head = range(0, whole - body, 1 if transport == "ndjson" else 10)
    needed = set()
    for length in [*head, *range(whole - body, whole)]:
        relay.plan(length)
        assert await finished.read(transport) == PACKETS, f"cut after {length} bytes"
        needed.add(relay.connections)
    assert needed <= {1, 2}  # after the last packet a cut does not matter
    assert 2 in needed


@pytest.mark.parametrize("transport", EVERY)
async def test_breaks_upon_breaks(finished: Finished, transport: TransportName) -> None:
    chance = random.Random(4)
    for _ in range(40):
        cuts = [chance.randrange(600) for _ in range(chance.randrange(2, 6))]
        finished.relay.plan(*cuts)
        assert await finished.read(transport) == PACKETS, f"cut after {cuts} bytes"


@pytest.mark.parametrize("transport", ["ndjson", "long-poll"])
async def test_an_upload_cut_in_its_answer_or_in_itself_is_one_session(
    shared: Process, transport: TransportName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "PAUSES", Backoff(0.0, 8.0))
    images = {View.FRONT: b"PHOTO of a cut upload", View.BACK: b"PHOTO back"}

    async def read() -> list[bytes]:
        with trio.fail_after(120):
            async with analyze(
                relay.url, images, session_id="cut", idempotency_key=f"cut-{transport}", transport=transport
            ) as packets:
                return [packet.raw async for packet in packets]

    async with relaying(shared.port) as relay:
        undisturbed = await read()
        whole = relay.delivered
        assert whole > 7000
        for length in [*range(0, 700, 9), *range(700, whole, 701), whole - 1]:
            relay.plan(length)
            assert await read() == undisturbed, f"answer cut after {length} bytes"
        for length in range(0, 900, 75):
            relay.plan(asked=[length])
            assert await read() == undisturbed, f"upload cut after {length} bytes"
