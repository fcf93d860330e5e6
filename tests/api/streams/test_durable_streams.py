"""`/streams/{streamId}`: the answers to requests, over packet logs that the tests write."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from quart import Response
from trio.testing import MockClock

from pinactors.api.streams import durable_streams
from pinactors.protocol import PinactorsError
from pinactors.protocol.offsets import to_offset, to_position
from tests.api.site import PACKETS, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def marks(response: Response) -> dict[str, str]:
    names = ("Stream-Next-Offset", "Stream-Up-To-Date", "Stream-Closed")
    return {name: response.headers[name] for name in names if name in response.headers}


def batch(*packets: bytes) -> bytes:
    return b"[" + b",\n".join(packets) + b"]"


# -- catching up -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?offset=-1", f"?offset={to_offset(0)}", "?utm=ignored"])
async def test_everything_from_the_start(site: Site, query: str) -> None:
    site.log(2)
    response = await site.get(query)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert await response.get_data() == batch(*PACKETS[:2])
    assert marks(response) == {"Stream-Next-Offset": to_offset(2), "Stream-Up-To-Date": "true"}


async def test_the_rest_from_an_earlier_answers_offset(site: Site) -> None:
    log = site.log(2)
    offset = (await site.get()).headers["Stream-Next-Offset"]
    log.append(PACKETS[2], terminal=True)
    response = await site.get(f"?offset={offset}")
    assert await response.get_data() == batch(PACKETS[2])
    assert marks(response) == {
        "Stream-Next-Offset": to_offset(3),
        "Stream-Up-To-Date": "true",
        "Stream-Closed": "true",
    }


@pytest.mark.parametrize("closed", [False, True])
async def test_nothing_more_at_the_tail(site: Site, closed: bool) -> None:
    site.log(3, closed=closed)
    response = await site.get(f"?offset={to_offset(3)}")
    assert (response.status_code, await response.get_data()) == (200, b"[]")
    assert response.headers["Cache-Control"] == "no-store"
    assert ("Stream-Closed" in response.headers) is closed
    assert "Stream-Up-To-Date" in response.headers


async def test_now_is_the_tail_and_no_packet(site: Site) -> None:
    site.log(2)
    response = await site.get("?offset=now")
    assert await response.get_data() == b"[]"
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers
    assert marks(response) == {"Stream-Next-Offset": to_offset(2), "Stream-Up-To-Date": "true"}


async def test_an_etag_saves_the_body_until_something_changes(site: Site) -> None:
    site.log(2)
    first = await site.get()
    tag = first.headers["ETag"]
    again = await site.get(If_None_Match=tag)
    assert (again.status_code, await again.get_data(), again.headers["ETag"]) == (304, b"", tag)
    site.log(2, closed=True)  # no new packet, but the client must see the end
    closed = await site.get(If_None_Match=tag)
    assert (closed.status_code, closed.headers["Stream-Closed"]) == (200, "true")
    assert closed.headers["ETag"] != tag
    assert (await site.get(If_None_Match='"other"')).status_code == 200


async def test_only_what_is_final_may_be_kept_without_asking(site: Site) -> None:
    log = site.log(2)
    response = await site.get()
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert {"Accept", "Authorization", "X-Api-Key"} <= set(response.vary)
    log.append(PACKETS[2], terminal=True)
    assert (await site.get()).headers["Cache-Control"].startswith("private, max-age=60")


async def test_head_says_where_the_log_ends(site: Site) -> None:
    log = site.log(2)
    response = await site.get(method="HEAD")
    assert (response.status_code, await response.get_data()) == (200, b"")
    assert marks(response) == {"Stream-Next-Offset": to_offset(2), "Stream-Up-To-Date": "true"}
    assert response.headers["Cache-Control"] == "no-store"
    log.append(PACKETS[2], terminal=True)
    assert (await site.get(method="HEAD")).headers["Stream-Closed"] == "true"


# -- invalid offsets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "?offset=",
        "?offset=1",
        "?offset=-2",
        "?offset=NOW",
        "?offset=0,1",
        f"?offset={to_offset(3)}",
        f"?offset={to_offset(0)}&offset={to_offset(1)}",
        "?live=long-poll",
        "?live=sse",
        "?live=websocket&offset=-1",
        "?live=",
    ],
)
async def test_what_nobody_issued_is_400(site: Site, query: str) -> None:
    site.log(2)
    response = await site.get(query)
    assert response.status_code == 400
    answer = json.loads(await response.get_data())
    assert (answer["success"], answer["errorCode"]) == (False, "invalid_format")
    assert answer["field"] in ("offset", "live")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@given(st.text(max_size=20).filter(lambda text: text not in ("-1", "now")))
def test_no_offset_whatever_breaks_the_parser(text: str) -> None:
    try:
        known = to_position(text) >= 0
    except ValueError:
        known = False
    if known:
        assert durable_streams._position(text) == to_position(text)
    else:
        with pytest.raises(PinactorsError, match="offset"):
            durable_streams._position(text)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_an_unknown_stream_is_404(site: Site, method: str) -> None:
    response = await site.get(name="other", method=method)
    assert response.status_code == 404
    if method != "HEAD":
        assert json.loads(await response.get_data())["errorCode"] == "stream_not_found"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_stream_of_another_owner_is_as_unknown(site: Site, method: str) -> None:
    site.keys.owners = {"key-a": "a", "key-b": "b"}
    site.log(2, owner="a")
    assert (await site.get(method=method, x_api_key="key-b")).status_code == 404
    assert (await site.get(method=method, x_api_key="key-a")).status_code in (200, 204)
    assert (await site.get(method=method, X_API_Key="wrong")).status_code == 401
    assert (await site.get(method=method)).status_code == 401
    assert site.logs.cancelled == (["s"] if method == "DELETE" else [])


async def test_delete_cancels_and_has_no_body(site: Site) -> None:
    site.log(1)
    for _ in range(2):
        response = await site.get(method="DELETE")
        assert (response.status_code, await response.get_data()) == (204, b"")
    assert site.logs.cancelled == ["s", "s"]


async def test_preflight_allows_what_resuming_needs(site: Site) -> None:
    asked = {"Access_Control_Request_Headers": "if-none-match, last-event-id", "Origin": "https://elsewhere"}
    response = await site.get(method="OPTIONS", **asked)
    allowed = response.headers["Access-Control-Allow-Headers"].lower()
    assert "if-none-match" in allowed
    assert "last-event-id" in allowed
    assert "DELETE" in response.headers["Access-Control-Allow-Methods"]


# -- long-poll ---------------------------------------------------------------------------------------------


async def test_a_poll_waits_for_the_next_packet(site: Site, autojump_clock: MockClock) -> None:
    log = site.log(1)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            await trio.sleep(2)
            assert log.readers == 1
            log.append(PACKETS[1], terminal=False)

        nursery.start_soon(write)
        response = await site.get(f"?offset={to_offset(1)}&live=long-poll")
    assert trio.current_time() - began == pytest.approx(2)
    assert await response.get_data() == batch(PACKETS[1])
    assert marks(response) == {"Stream-Next-Offset": to_offset(2), "Stream-Up-To-Date": "true"}
    assert response.headers["Stream-Cursor"].isdigit()
    assert log.readers == 0


async def test_a_poll_without_news_ends_before_a_client_loses_patience(
    site: Site, autojump_clock: MockClock
) -> None:
    site.log(1)
    began = trio.current_time()
    response = await site.get("?offset=now&live=long-poll")
    assert trio.current_time() - began == pytest.approx(5)  # OkHttp gives up after ten seconds without a byte
    assert (response.status_code, await response.get_data()) == (204, b"")
    assert marks(response) == {"Stream-Next-Offset": to_offset(1), "Stream-Up-To-Date": "true"}
    assert response.headers["Stream-Cursor"].isdigit()
    assert response.headers["Cache-Control"] == "no-store"


async def test_polling_to_the_end(site: Site, autojump_clock: MockClock) -> None:
    log = site.log(1)
    collected: list[bytes] = []
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            for packet in PACKETS[1:]:
                await trio.sleep(7)
                log.append(packet, terminal=packet is PACKETS[-1])

        nursery.start_soon(write)
        offset, cursor, statuses = "-1", "", []
        while True:
            response = await site.get(f"?offset={offset}&live=long-poll&cursor={cursor}")
            statuses.append(response.status_code)
            if response.status_code == 200:
                collected += (await response.get_data())[1:-1].split(b",\n")
            if "Stream-Closed" in response.headers:
                assert "Stream-Cursor" not in response.headers
                break
            assert int(response.headers["Stream-Cursor"]) > int(cursor or 0)
            offset, cursor = response.headers["Stream-Next-Offset"], response.headers["Stream-Cursor"]
    assert collected == PACKETS
    assert statuses == [200, 204, 200, 204, 200]


async def test_an_event_source_behind_the_end_is_told_to_stop(site: Site) -> None:
    site.log(3, closed=True)
    for offset in (to_offset(3), "now"):
        response = await site.get(f"?offset={offset}", accept="text/event-stream")
        assert response.status_code == 204
        assert response.headers["Stream-Closed"] == "true"


async def test_a_poll_behind_the_end_is_told_at_once(site: Site, autojump_clock: MockClock) -> None:
    site.log(3, closed=True)
    began = trio.current_time()
    response = await site.get(f"?offset={to_offset(3)}&live=long-poll")
    assert trio.current_time() == began
    assert response.status_code == 204
    assert response.headers["Stream-Closed"] == "true"


@pytest.mark.parametrize("drawn", [0, durable_streams.CURSOR_JITTER - 1])
def test_a_cursor_never_stands_still(drawn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda limit: drawn)
    now = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    current = int(durable_streams.next_cursor(None, now))
    assert current == (now - dt.datetime(2024, 10, 9, tzinfo=dt.UTC)).days * 24 * 180
    assert int(durable_streams.next_cursor(current - 1, now)) == current
    for held in (current, current + 5000):
        assert held < int(durable_streams.next_cursor(held, now)) <= held + 180


@pytest.mark.parametrize("cursor", ["", "x", "-1", "9" * 40, "%D9%A3"])
async def test_a_cursor_nobody_issued_is_ignored(site: Site, autojump_clock: MockClock, cursor: str) -> None:
    site.log(1)
    response = await site.get(f"?offset=-1&live=long-poll&cursor={cursor}")
    assert response.status_code == 200
    assert abs(int(response.headers["Stream-Cursor"]) - int(durable_streams.next_cursor(None))) <= 1


# -- following ---------------------------------------------------------------------------------------------


async def followed(site: Site, write: Callable[[], Any], query: str = "", **headers: str) -> bytes:
    """The whole body of a live read, during which `write` adds to the log."""
    bodies: list[bytes] = []

    async def read() -> None:
        bodies.append(await (await site.get(query, **headers)).get_data())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.sleep(1)
        write()
    return bodies[0]


async def test_lines_to_the_end(site: Site, autojump_clock: MockClock) -> None:
    log = site.log(2)
    body = await followed(
        site,
        lambda: log.append(PACKETS[2], terminal=True),
        f"?offset={to_offset(1)}",
        Accept="application/x-ndjson",
    )
    assert body == PACKETS[1] + b"\n" + PACKETS[2] + b"\n"


async def test_events_to_the_end(site: Site, autojump_clock: MockClock) -> None:
    log = site.log(2)
    body = await followed(site, lambda: log.append(PACKETS[2], terminal=True), Accept="text/event-stream")
    expected = [
        b"data:%b\nid:%b\n\n" % (packet, to_offset(i + 1).encode()) for i, packet in enumerate(PACKETS)
    ]
    assert body == b"".join(expected)


async def test_last_event_id_wins_over_the_address(site: Site, autojump_clock: MockClock) -> None:
    """A browser's EventSource reconnects to the same address, so that the header has the newer offset."""
    log = site.log(2)
    body = await followed(
        site,
        lambda: log.append(PACKETS[2], terminal=True),
        "?offset=-1",
        Accept="text/event-stream",
        Last_Event_ID=to_offset(1),
    )
    assert [line for line in body.split(b"\n") if line.startswith(b"data:")] == [
        b"data:" + p for p in PACKETS[1:]
    ]


@pytest.mark.parametrize("query", ["", "?live=sse", "?offset=-1&live=sse"])
async def test_an_event_reader_that_has_everything_is_told_to_stop(
    site: Site, autojump_clock: MockClock, query: str
) -> None:
    site.log(3, closed=True)
    response = await site.get(query, Accept="text/event-stream", Last_Event_ID=to_offset(3))
    assert response.status_code == 204
    response = await site.get(query, Accept="text/event-stream", Last_Event_ID="")
    assert response.status_code == 200, "who has read no event yet gets all of them"
    response = await site.get(query, Accept="text/event-stream", Last_Event_ID="nonsense")
    assert response.status_code == 400
    assert (await response.get_json())["field"] == "Last-Event-ID", "as it was sent"


@pytest.mark.parametrize("word", ["", " ", "null", "undefined"])
async def test_an_event_id_that_says_nothing_is_none(
    site: Site, autojump_clock: MockClock, word: str
) -> None:
    site.log(3, closed=True)
    for query, first in (("", 0), ("?offset=-1", 0), (f"?offset={to_offset(1)}", 1)):
        response = await site.get(query, Accept="text/event-stream", Last_Event_ID=word)
        assert response.status_code == 200
        assert response.headers["Stream-Next-Offset"] == to_offset(first)


async def test_an_event_reader_may_name_its_place_in_the_address(
    site: Site, autojump_clock: MockClock
) -> None:
    """`event-source-polyfill` sends the last event id in the query."""
    site.log(3, closed=True)
    for query in (f"?lastEventId={to_offset(2)}", f"?offset=-1&live=sse&lastEventId={to_offset(2)}"):
        response = await site.get(query, Accept="text/event-stream")
        assert response.headers["Stream-Next-Offset"] == to_offset(2)
    response = await site.get("?lastEventId=5", Accept="text/event-stream")
    assert (response.status_code, (await response.get_json())["field"]) == (400, "lastEventId")


async def test_batched_events_to_the_end(site: Site, autojump_clock: MockClock) -> None:
    log = site.log(2)
    body = await followed(site, lambda: log.append(PACKETS[2], terminal=True), "?offset=-1&live=sse")
    events = [event.split(b"\n") for event in body.split(b"\n\n") if event]
    assert [event[0] for event in events] == [b"event: data", b"event: control"] * 2
    data = [b"\n".join(line[5:] for line in event if line.startswith(b"data:")) for event in events]
    assert [data[0], data[2]] == [batch(*PACKETS[:2]), batch(PACKETS[2])]
    assert json.loads(data[3]) == {
        "streamNextOffset": to_offset(3),
        "upToDate": True,
        "streamClosed": True,
    }


async def test_two_readers_get_the_same(site: Site, autojump_clock: MockClock) -> None:
    log = site.log(1)
    bodies: list[bytes] = []

    async def read() -> None:
        response = await site.get(Accept="application/x-ndjson")
        bodies.append(await response.get_data())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
        await trio.sleep(1)
        assert log.readers == 2
        log.append(PACKETS[1], terminal=False)
        await trio.sleep(1)
        log.append(PACKETS[2], terminal=True)
    assert bodies == [b"".join(packet + b"\n" for packet in PACKETS)] * 2


# -- a log that is closed before its end: its session goes on at another master, or has ended there --------


async def test_a_poll_that_waits_is_told_to_ask_again(site: Site, autojump_clock: MockClock) -> None:
    log = site.log(1)
    async with trio.open_nursery() as nursery:

        async def close() -> None:
            await trio.sleep(2)
            log.close()

        nursery.start_soon(close)
        response = await site.get(f"?offset={to_offset(1)}&live=long-poll")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "Stream-Closed" not in response.headers
    answer = await response.get_json()
    assert answer["errorCode"] == "overloaded"
    assert "read the stream again" in answer["error"]


@pytest.mark.parametrize("query", ["?offset=-1", "?offset=-1&live=long-poll"])
async def test_its_packets_are_no_final_batch(site: Site, query: str) -> None:
    site.log(2).close()
    response = await site.get(query)
    assert await response.get_data() == batch(*PACKETS[:2])
    assert "Stream-Closed" not in response.headers
    assert response.headers["Cache-Control"] == "private, no-cache"
    head = await site.get(method="HEAD")
    assert "Stream-Closed" not in head.headers
    site.log(2)
    assert (await site.get("?offset=-1", If_None_Match=response.headers["ETag"])).status_code == 304


@pytest.mark.parametrize("query", ["", "?offset=-1&live=sse"])
async def test_its_event_readers_reconnect(site: Site, autojump_clock: MockClock, query: str) -> None:
    log = site.log(2)
    body = await followed(site, log.close, query, Accept="text/event-stream")
    assert PACKETS[1] in body
    assert b"streamClosed" not in body
    again = await site.get(query, Accept="text/event-stream", Last_Event_ID=to_offset(2))
    assert again.status_code == 200, "204 would make an EventSource stop for good"
