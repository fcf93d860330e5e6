"""Tests that a session's webhook gets an event for each packet from the first result on, for every kind of
upload, after failures and after a kill."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from pinactors.client import View, analyze
from pinactors.client.session import TransportName
from pinactors.records import Records
from pinactors.records.models import Delivery
from pinactors.settings import Settings
from tests.api.conftest import Running, launch, running
from tests.api.proxy.conftest import proxying
from tests.api.rawsocket import opened
from tests.api.uploads.resumable.senders import Tus
from tests.api.wire import JSON, Answer, ask, json_body, multipart, part
from tests.webhooks.receiver import Receiver, receiving

LIMIT = 120
NDJSON = {"Accept": "application/x-ndjson"}
COMPONENTS = {
    "AUTHENTICATION_RESULT": "authenticity",
    "CHARACTER_IDENTIFICATION": "characters",
    "PRICING_ANALYSIS": "pricing",
    "DETAILED_ANALYSIS": "details",
    "HTML_DISPLAY_DATA": "display",
}
SETTINGS: dict[str, Any] = {"webhook_private": True, "webhook_retry": 0.05}


@dataclass
class Site:
    """A master, a proxy and a receiver. `key` has no webhook, `telling` has the receiver's; `secrets` are the
    signing secrets of the two keys."""

    server: Running
    proxy: int
    receiver: Receiver
    key: str
    telling: str
    secrets: list[str]


async def make_keys(data: Path, url: str) -> tuple[list[str], list[str]]:
    """Adds two keys, the second with a webhook; returns the keys and their secrets."""
    records = await Records.open(Settings(data=data))
    keys = [await records.add_key("quiet"), await records.add_key("telling", url)]
    secrets = [await records.webhook_secret(number) for number in (1, 2)]
    await records.close()
    return keys, [secret for secret in secrets if secret is not None]


@pytest.fixture
async def site(tmp_path: Path, trusted: trustme.CA) -> AsyncIterator[Site]:
    data = tmp_path / "data"
    async with receiving(trusted) as receiver:
        keys, secrets = await make_keys(data, receiver.url)
        async with (
            running(data, **SETTINGS) as server,
            proxying(tmp_path / "proxy", [f"http://127.0.0.1:{server.port}"]) as proxy,
        ):
            with trio.fail_after(LIMIT):
                yield Site(server, proxy, receiver, *keys, secrets)


async def upload(port: int, key: str = "", **fields: object) -> Answer:
    body = json_body(frontImageData=b"PHOTO", **fields)
    headers = {"x-api-key": key} if key else {}
    return await ask(port, "POST", "/mobile-upload", body, JSON | NDJSON | headers)


async def told_all(receiver: Receiver, packets: list[dict[str, Any]], secret: str) -> None:
    """Asserts that the receiver gets an event for each packet of the stream from its first result on, in
    order, and forgets them."""
    await receiver.until(6)
    receiver.check(secret)
    stream = packets[0]["streamId"]
    expected = [
        (
            f"result.{COMPONENTS[packet['packetType']]}"
            if packet["packetType"] in COMPONENTS
            else "session.completed",
            stream,
            packet,
        )
        for packet in packets[2:]
    ]
    events = [one.event for one in receiver.taken]
    assert [(event["type"], event["streamId"], event["data"]) for event in events] == expected
    receiver.received.clear()


async def test_a_key_has_its_sessions_told(site: Site) -> None:
    """Uploads go to the master and through the proxy; the record shows the tally of deliveries."""
    for port in (site.server.port, site.proxy):
        answer = await upload(port, site.telling, sessionId=f"told{port}")
        await told_all(site.receiver, answer.packets, site.secrets[1])
        while True:
            listed = await ask(port, "GET", "/api/records", headers={"x-api-key": site.telling})
            webhook = listed.json()["records"][0]["webhook"]
            if webhook["delivered"] == 6:  # stored a moment after the receiver's answer
                break
        assert webhook == {"pending": 0, "delivered": 6, "dead": 0, "error": None}
    assert (await upload(site.server.port, site.key, sessionId="quiet")).status == 200
    records = await ask(site.server.port, "GET", "/api/records", headers={"x-api-key": site.key})
    assert records.json()["records"][0]["webhook"] is None
    assert site.receiver.received == []


async def test_an_upload_names_its_webhook_in_json(site: Site) -> None:
    answer = await upload(site.proxy, site.key, webhook=site.receiver.url)
    await told_all(site.receiver, answer.packets, site.secrets[0])


async def test_an_upload_names_its_webhook_in_a_form_behind_the_photograph(site: Site) -> None:
    body = multipart([part("front_image", b"PHOTO", "f"), part("webhook", site.receiver.url.encode())])
    headers = {"Content-Type": "multipart/form-data; boundary=a-boundary", "x-api-key": site.key}
    answer = await ask(site.server.port, "POST", "/mobile-upload", body, headers | NDJSON)
    await told_all(site.receiver, answer.packets, site.secrets[0])


async def test_an_upload_names_its_webhook_over_a_websocket(site: Site) -> None:
    for port in (site.server.port, site.proxy):
        async with opened(port, {"x-api-key": site.key}) as socket:
            await socket.send(sessionId=f"w{port}", images=["front"], webhook=site.receiver.url)
            await socket.send_photograph(b"PHOTO")
            packets = await socket.until("ANALYSIS_COMPLETE")
        await told_all(site.receiver, packets, site.secrets[0])


async def test_an_upload_names_its_webhook_in_tus_metadata(site: Site) -> None:
    client = Tus(site.server.port, headers={"x-api-key": site.key})
    stream = await client.send(
        b"PHOTO", sessionId="t", view="front", complete="true", webhook=site.receiver.url
    )
    await told_all(site.receiver, await client.packets(stream), site.secrets[0])


async def test_a_photograph_that_was_refused_does_not_change_the_webhook(site: Site) -> None:
    client = Tus(site.server.port, headers={"x-api-key": site.key})
    fields = {"sessionId": "t", "complete": "true"}
    front = await client.create(5, **fields, view="front", webhook=site.receiver.url)
    limit = site.server.settings.max_request_bytes
    refused = await client.create(limit, **fields, view="back", webhook="https://localhost:9/")
    assert refused.status == 413
    assert (await client.append(front.headers["location"], 0, b"PHOTO")).status == 204
    packets = await client.packets(front.headers["stream-location"])
    await told_all(site.receiver, packets, site.secrets[0])


@pytest.mark.parametrize("transport", ["ndjson", "websocket"])
async def test_the_python_client_names_a_webhook(site: Site, transport: TransportName) -> None:
    given: dict[str, Any] = {"key": site.key, "webhook": site.receiver.url, "transport": transport}
    url = f"http://127.0.0.1:{site.server.port}"
    async with analyze(url, {View.FRONT: b"PHOTO"}, **given) as packets:
        received = [packet.fields async for packet in packets]
    await told_all(site.receiver, received, site.secrets[0])


async def test_a_failed_session_is_told(site: Site) -> None:
    answer = await ask(
        site.server.port,
        "POST",
        "/mobile-upload",
        json_body(frontImageData=b"no picture", webhook=site.receiver.url),
        JSON | NDJSON | {"x-api-key": site.key},
    )
    assert answer.packets[-1]["packetType"] == "ERROR"
    await site.receiver.until(1)
    last = site.receiver.taken[-1].event
    assert (last["type"], last["data"]) == ("session.failed", answer.packets[-1])


async def test_the_same_upload_again_is_told_once(site: Site) -> None:
    first = await upload(site.server.port, site.telling, sessionId="same")
    await told_all(site.receiver, first.packets, site.secrets[1])
    again = await upload(site.server.port, site.telling, sessionId="same")
    assert again.packets == first.packets
    other = await upload(site.server.port, site.telling, sessionId="other")
    await told_all(site.receiver, other.packets, site.secrets[1])


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://127.0.0.1/", "https://me:you@example.com/", "pins", 7]
)
async def test_a_webhook_that_cannot_be_one_is_refused_by_name(
    url: object, tmp_path: Path, trusted: trustme.CA
) -> None:
    keys, _ = await make_keys(tmp_path, "https://example.com/")
    async with running(tmp_path) as server:
        answer = await upload(server.port, keys[0], webhook=url)
    refusal = answer.packets[-1]
    assert (refusal["errorCode"], refusal["field"]) == ("invalid_format", "webhook")


async def test_an_open_server_has_nothing_to_sign_with(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        refused = await upload(server.port, webhook="https://example.com/")
        assert refused.packets[-1]["field"] == "webhook"
        assert "webhook_secret" in refused.packets[-1]["error"]
        assert (await upload(server.port, webhook=None)).packets[-1]["packetType"] == "ANALYSIS_COMPLETE"


@asynccontextmanager
async def master(data: Path) -> AsyncIterator[int]:
    """Runs a master in a separate process, which is killed at the end, and yields its port."""
    process, port = launch(data, **SETTINGS)  # not in a thread: see `launch`
    try:
        yield port
    finally:
        assert process.stdout is not None
        process.stdout.close()
        process.send_signal(signal.SIGKILL)
        process.wait()


async def test_events_survive_a_master_that_is_killed_in_between(tmp_path: Path, trusted: trustme.CA) -> None:
    """One event is delivered and another is being sent when the master is killed; the next process continues
    in order."""
    with trio.fail_after(LIMIT):
        async with receiving(trusted, [200, 500, "silence"]) as receiver:
            keys, secrets = await make_keys(tmp_path / "data", receiver.url)
            async with master(tmp_path / "data") as port:
                answer = await upload(port, keys[1])
                await receiver.until(3, taken=False)
            records = await Records.open(Settings(data=tmp_path / "data"))
            await records._store.write(  # as if the killed process's claim had expired
                Delivery.update(due_at=Delivery.created_at).where(Delivery.state == "pending").execute
            )
            await records.close()
            async with master(tmp_path / "data"):
                await receiver.until(6)
            receiver.check(secrets[1])
    sequences = [one.sequence for one in receiver.received]
    assert sequences == [2, 3, 3, 3, 4, 5, 6, 7]
    assert [one.event["data"] for one in receiver.taken] == answer.packets[2:]
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 6
