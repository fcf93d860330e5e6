"""Tests that events reach a real receiver: signed, in order, at least once, despite its faults."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import trio
import trustme

from pinactors.records import DeliveryTally, Records
from pinactors.records.models import Delivery
from pinactors.settings import Settings
from pinactors.supervision import Supervision
from pinactors.webhooks import deliverer, sending
from pinactors.webhooks.deliverer import Deliverer
from tests.conftest import ErrorLogs
from tests.failing import fail_once
from tests.records.samples import Clock
from tests.waiting import until
from tests.webhooks.receiver import REDIRECT, RESET, SILENCE, Receiver, receiving

LIMIT = 120
"""Time limit of each test in seconds."""

COMPONENTS = ["", "authenticity", "pricing", ""]


def packets(session: str) -> list[bytes]:
    kinds = ("PROCESSING_STARTED", "AUTHENTICATION_RESULT", "PRICING_ANALYSIS", "ANALYSIS_COMPLETE")
    return [
        b'{"packetType":"%b","sessionId":"%b","timestamp":"2026-06-30T12:00:00.000Z","sequence":%d,"x":"\xc3\xa9"}'
        % (kind.encode(), session.encode(), number)
        for number, kind in enumerate(kinds)
    ]


EVENTS = ["result.authenticity", "result.pricing", "session.completed"]


class Site:
    """Records with a key that has a webhook, and a delivery task."""

    def __init__(self, settings: Settings, records: Records, tls: ssl.SSLContext) -> None:
        self.settings, self.records = settings, records
        self.metrics = prometheus_client.CollectorRegistry()
        self.deliverer = Deliverer(records, settings, Supervision(self.metrics), self.metrics, tls)

    async def add(self, stream: str = "stream", owner: str = "1", webhook: str = "") -> None:
        assert await self.records.add_deliveries(stream, owner, webhook, packets(stream), COMPONENTS, 0)
        self.deliverer.wake()

    async def tally(self, stream: str = "stream") -> DeliveryTally:
        return (await self.records.delivery_tallies([stream]))[stream]

    async def until(self, *, delivered: int = 0, dead: int = 0, stream: str = "stream") -> DeliveryTally:
        """Polls the database until at least so many deliveries are delivered and dead; returns the tally."""
        while (tally := await self.tally(stream)).delivered < delivered or tally.dead < dead:  # noqa: ASYNC110
            await trio.sleep(0.02)
        return tally

    async def error(self) -> str:
        """Polls the database until an attempt has failed; returns its error."""
        while (error := (await self.tally()).error) is None:  # noqa: ASYNC110
            await trio.sleep(0.02)
        return error

    async def expire(self) -> None:
        """Makes the stored events so old that the next attempt that fails is the last."""
        made = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2 * self.settings.webhook_expiry)
        await self.records._store.write(Delivery.update(created_at=made).execute)

    async def secret(self, number: int = 1) -> str:
        secret = await self.records.webhook_secret(number)
        assert secret is not None
        return secret


@asynccontextmanager
async def delivering(tmp_path: Path, receiver: Receiver, **settings: Any) -> AsyncIterator[Site]:
    tls = ssl.create_default_context()
    tls.load_verify_locations(cadata=receiver.authority.cert_pem.bytes().decode())
    chosen = {"webhook_private": True, "webhook_retry": 0.02, "webhook_expiry": 60.0, **settings}
    kept = Settings(data=tmp_path / "data", **chosen)
    records = await Records.open(kept)
    try:
        await records.add_key("shop", receiver.url)
        site = Site(kept, records, tls)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.deliverer.run)
            with trio.fail_after(LIMIT):
                yield site  # `fail_after` limits the test's body
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await records.close()


async def test_events_come_in_order_signed_and_typed(tmp_path: Path, authority: trustme.CA) -> None:
    async with receiving(authority) as receiver, delivering(tmp_path, receiver) as site:
        await site.add()
        await receiver.until(3)
        assert await site.until(delivered=3) == DeliveryTally(0, 3, 0, None)
        receiver.check(await site.secret())
    assert receiver.events() == EVENTS
    assert [one.sequence for one in receiver.taken] == [1, 2, 3]
    assert receiver.paths == ["/events?of=pins"] * 3
    first = receiver.received[0]
    assert first.event["streamId"] == "stream"
    assert first.event["timestamp"] == "2026-06-30T12:00:00.000Z"
    assert first.event["data"] == {
        "packetType": "AUTHENTICATION_RESULT",
        "sessionId": "stream",
        "timestamp": "2026-06-30T12:00:00.000Z",
        "sequence": 1,
        "x": "é",
    }
    assert first.headers["content-type"] == "application/json"
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 3


async def test_whatever_is_no_success_is_repeated_under_the_same_id(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver answers an error or a redirect (not followed), resets the connection, or is silent."""
    monkeypatch.setattr(sending, "ATTEMPT_SECONDS", 3.0)
    behaviours = [SILENCE, 500, REDIRECT, RESET, 429]
    async with receiving(authority, behaviours) as receiver, delivering(tmp_path, receiver) as site:
        await site.add()
        await receiver.until(1, taken=False)
        monkeypatch.setattr(sending, "ATTEMPT_SECONDS", LIMIT)  # a busy machine may need long for the others
        await receiver.until(3)
        assert (await site.until(delivered=3)).error is None
        receiver.check(await site.secret())
    assert [one.answered for one in receiver.received] == [*behaviours, 200, 200, 200]
    assert receiver.events() == EVENTS
    assert len({one.headers["webhook-id"] for one in receiver.received[: len(behaviours) + 1]}) == 1
    assert set(receiver.paths) == {"/events?of=pins"}


async def test_a_closed_port_is_tried_until_it_opens(tmp_path: Path, authority: trustme.CA) -> None:
    async with receiving(authority) as receiver:
        pass
    async with delivering(tmp_path, receiver) as site:
        await site.add()
        assert "cannot connect" in await site.error()
        async with trio.open_nursery() as nursery:
            await nursery.start(receiver.serve)
            await receiver.until(3)
            await site.until(delivered=3)
            nursery.cancel_scope.cancel()
    assert receiver.events() == EVENTS


async def test_a_server_that_is_not_who_it_says_gets_nothing(tmp_path: Path, authority: trustme.CA) -> None:
    """The URL has an address, for which the certificate (of a name) is not valid."""
    async with receiving(authority) as receiver, delivering(tmp_path, receiver) as site:
        await site.add(webhook=receiver.url.replace("localhost", "127.0.0.1"))
        assert "certificate" in await site.error()
    assert receiver.received == []


async def test_private_addresses_are_refused_when_connecting(tmp_path: Path, authority: trustme.CA) -> None:
    async with (
        receiving(authority) as receiver,
        delivering(tmp_path, receiver, webhook_private=False) as site,
    ):
        await site.add()
        assert await site.error() == "localhost has no public address"
    assert receiver.received == []


async def test_what_is_never_taken_becomes_dead_letters_with_all_that_follows(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with (
        receiving(authority, [500] * 100) as receiver,
        delivering(tmp_path, receiver) as site,
    ):
        await site.add()
        await receiver.until(2, taken=False)
        await site.expire()
        tally = await site.until(dead=3)
    assert tally == DeliveryTally(0, 0, 3, "it answered 500")
    assert {one.sequence for one in receiver.received} == {1}
    assert site.metrics.get_sample_value("pinactors_webhook_attempts_total", {"outcome": "dead"}) == 3


async def test_a_url_that_cannot_be_used_expires(tmp_path: Path, authority: trustme.CA) -> None:
    """An earlier version accepted it."""
    async with (
        receiving(authority) as receiver,
        delivering(tmp_path, receiver) as site,
    ):
        await site.add(webhook="https://a..example/")
        await site.error()
        await site.expire()
        tally = await site.until(dead=3)
    assert tally.error == "a..example cannot be the name of a server"


async def test_an_unexpected_error_is_logged_and_counts_as_an_attempt(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    attempts = 0

    async def fail(*_: object, **__: object) -> None:
        nonlocal attempts
        attempts += 1
        await trio.lowlevel.checkpoint()
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(deliverer, "post", fail)
    async with (
        receiving(authority) as receiver,
        delivering(tmp_path, receiver) as site,
    ):
        await site.add()
        await until(lambda: attempts > 1)
        await site.expire()
        tally = await site.until(dead=3)
    assert tally == DeliveryTally(0, 0, 3, "unexpected error: RuntimeError")
    for _ in range(attempts):
        assert repr(error_logs.take("iteration failed")["exc_info"]) == "RuntimeError('not foreseen')"


async def test_a_receiver_that_is_gone_is_asked_once(tmp_path: Path, authority: trustme.CA) -> None:
    async with receiving(authority, [410]) as receiver, delivering(tmp_path, receiver) as site:
        await site.add()
        assert (await site.until(dead=3)).error == "it answered 410"
    assert len(receiver.received) == 1


async def test_a_revoked_key_ends_its_deliveries(tmp_path: Path, authority: trustme.CA) -> None:
    async with receiving(authority) as receiver, delivering(tmp_path, receiver) as site:
        webhook = receiver.url
        await site.records.revoke_key(1)
        await site.add(webhook=webhook)
        assert (await site.until(dead=3)).error == "its key was revoked"
    assert receiver.received == []


async def test_without_a_key_a_setting_signs(tmp_path: Path, authority: trustme.CA) -> None:
    secret = "whsec_" + "c2VjcmV0" * 4
    async with (
        receiving(authority) as receiver,
        delivering(tmp_path, receiver, webhook_secret=secret) as site,
    ):
        await site.add(owner="", webhook=receiver.url)
        await receiver.until(3)
        receiver.check(secret)


async def test_one_silent_receiver_keeps_nobody_waiting(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the events of the silent receiver's own sessions wait."""
    monkeypatch.setattr(deliverer, "MAX_CONCURRENT_PER_OWNER", 2)
    monkeypatch.setattr(deliverer, "MAX_CONCURRENT", 4)
    async with (
        receiving(authority, [SILENCE] * 100) as silent,
        receiving(authority) as receiver,
        delivering(tmp_path, silent) as site,
    ):
        await site.records.add_key("other", receiver.url)
        for number in range(8):
            await site.add(f"silent{number}")
        await silent.until(2, taken=False)
        await site.add("quick", owner="2")
        await receiver.until(3)
        assert receiver.events() == EVENTS
        assert len(silent.received) == 2


async def test_what_a_killed_process_was_sending_is_sent_again(tmp_path: Path, authority: trustme.CA) -> None:
    """Another process sends the event only after the killed process's claim has expired."""
    async with receiving(authority) as receiver:
        kept = Settings(data=tmp_path / "data")
        clock = Clock()
        clock.now = dt.datetime.now(dt.UTC)
        records = await Records.open(kept, clock)
        await records.add_key("shop", receiver.url)
        assert await records.add_deliveries("stream", "1", "", packets("stream"), COMPONENTS, 0)
        claim_ends = clock.now + dt.timedelta(seconds=3)
        claimed = await records.claim_deliveries(claim_ends, 10, {}, 10)
        assert [one.event for one in claimed] == ["result.authenticity"]
        assert await records.claim_deliveries(claim_ends, 10, {}, 10) == []
        await records.close()
        async with delivering(tmp_path, receiver) as site:
            await receiver.until(3)
            await site.until(delivered=3)
    assert receiver.events() == EVENTS


async def test_a_database_that_is_away_delays_events(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    monkeypatch.setattr(deliverer, "POLL_SECONDS", 0.05)
    async with receiving(authority) as receiver, delivering(tmp_path, receiver) as site:
        database = site.settings.data / "pinactors.db"
        await site.add()
        await site.until(delivered=3)
        away = database.with_name("away.db")
        database.rename(away)
        noticed = "deliveries not readable"
        while noticed not in {line["event"] for line in error_logs.entries}:  # noqa: ASYNC110 - only its log shows it
            await trio.sleep(0.02)
        away.rename(database)
        await site.add("later")
        await receiver.until(6)
    assert receiver.events() == EVENTS * 2


async def test_delivery_goes_on_when_a_round_fails(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    fail_once(monkeypatch, Deliverer, "_remove_old")
    async with receiving(authority) as receiver, delivering(tmp_path, receiver) as site:
        await site.add()
        await site.until(delivered=3)
    assert error_logs.take("iteration failed")["task"] == "webhooks"
