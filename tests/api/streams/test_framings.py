"""Framings: logs that the encoders write and clients read, as a whole and byte by byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart, request
from werkzeug.datastructures import Headers

from pinactors.api.streams.framings import (
    JSON_BATCH,
    NDJSON,
    PHONE,
    SSE,
    BatchEvents,
    Framing,
    accepted,
    choose,
)
from pinactors.protocol import PinactorsError
from pinactors.protocol.offsets import to_position

OPENING = b'{"packetType":"CONNECTION_ESTABLISHED","sequence":0}'.ljust(513)
LOGS: list[list[bytes]] = [
    [OPENING],
    [OPENING, b'{"sequence":1,"html":"<p>\\n\\n\\r</p>"}', '{"sequence":2,"name":"Dvořák \u2028"}'.encode()],
    [b"{}", b'{"data":"data: x","event":"event: control"}', b'{"id":"id:1"}', b"{ }"],
]
BATCHES = BatchEvents(JSON_BATCH, "1000")


class LineReader:
    """A client of the line framing: it takes complete lines only, and ignores blank ones (keep-alives)."""

    def __init__(self) -> None:
        self._rest = b""
        self.packets: list[bytes] = []

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.packets += [line for line in lines if line]


class EventReader:
    """A reader of server-sent events as in the HTML standard, for streams that use only line feeds."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._kind = b""
        self.last_id: bytes | None = None
        self.events: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not line:
                if self._data:
                    self.events.append((self._kind or b"message", b"\n".join(self._data)))
                self._data, self._kind = [], b""
            elif name == b"data":
                self._data.append(value)
            elif name == b"event":
                self._kind = value
            elif name == b"id":
                self.last_id = value

    @property
    def packets(self) -> list[bytes]:
        return [data for kind, data in self.events if kind == b"message"]


class BatchReader(EventReader):
    @property
    def packets(self) -> list[bytes]:
        batches = [data for kind, data in self.events if kind == b"data"]
        return [packet for batch in batches for packet in batch[1:-1].split(b",\n")]


READERS: list[tuple[Framing, Callable[[], LineReader | EventReader]]] = [
    (PHONE, LineReader),
    (NDJSON, LineReader),
    (SSE, EventReader),
    (BATCHES, BatchReader),
]


def written(framing: Framing, log: Sequence[bytes], cuts: Iterable[int] = ()) -> bytes:
    """A whole answer: the log in several writes, which end at `cuts`, with a keep-alive between them."""
    ends = [*sorted(set(cuts)), len(log)]
    pieces, start = [], 0
    for end in ends:
        pieces.append(framing.encode(log[start:end], start, closed=end == len(log)))
        start = end
    return framing.keepalive.join(pieces)


@pytest.mark.parametrize(("framing", "reader"), READERS)
@pytest.mark.parametrize("log", LOGS)
def test_packets_come_back_byte_for_byte(
    framing: Framing, reader: Callable[[], LineReader | EventReader], log: list[bytes]
) -> None:
    answer = written(framing, log)
    whole, piecewise = reader(), reader()
    whole.feed(answer)
    for byte in answer:
        piecewise.feed(bytes([byte]))
    assert whole.packets == piecewise.packets == log


packets = st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=3).map(
    lambda fields: json.dumps(fields, ensure_ascii=False).encode()
)


@given(st.lists(packets, min_size=1, max_size=9), st.sets(st.integers(1, 8), max_size=4), st.data())
def test_neither_writes_nor_breaks_change_what_a_client_puts_together(
    log: list[bytes], cuts: set[int], data: st.DataObject
) -> None:
    """A resumed reader has the same log, however packets are grouped into writes and wherever the connection
    breaks."""
    for framing, reader in READERS:
        answer = written(framing, log, [cut for cut in cuts if cut < len(log)])
        broken = data.draw(st.integers(0, len(answer)))
        first = reader()
        first.feed(answer[:broken])
        had = first.packets
        rest = reader()
        rest.feed(framing.encode(log[len(had) :], len(had), closed=True))
        assert had + rest.packets == log


def test_the_signs_of_life_are_what_the_protocol_says() -> None:
    assert (PHONE.keepalive, NDJSON.keepalive) == (b"\n", b"\n")
    assert SSE.keepalive == b":\n"  # a blank line would end an event
    assert (PHONE.content_type, NDJSON.content_type, SSE.content_type) == (
        "application/json",
        "application/x-ndjson",
        "text/event-stream",
    )


def test_an_events_id_is_the_offset_behind_its_packet() -> None:
    reader = EventReader()
    for start in range(3):
        reader.feed(SSE.encode([b"{}"], start, closed=False))
        assert reader.last_id is not None
        assert to_position(reader.last_id.decode()) == start + 1


class TakesIdsAsTheyCome:
    """A reader like `@microsoft/fetch-event-source`: it takes an id at its line, and data at the blank
    line."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self.resume_from = b""
        self.messages: list[bytes] = []

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            name, _, value = line.partition(b":")
            if not line:
                self.messages += [b"\n".join(self._data)] if self._data else []
                self._data = []
            elif name == b"data":
                self._data.append(value)
            elif name == b"id":
                self.resume_from = value


@pytest.mark.parametrize("framing", [SSE, BATCHES])
def test_no_id_is_read_before_its_data(framing: Framing) -> None:
    """Such a reader loses nothing if the answer is cut at any byte, except between the two line feeds that
    end an event."""
    log = [OPENING, b'{"sequence":1}', b'{"sequence":2}']
    answer = b"".join(framing.encode([packet], at, closed=False) for at, packet in enumerate(log))
    for cut in range(len(answer) + 1):
        if answer[:cut].endswith(b"\n") and answer[cut : cut + 1] == b"\n":
            continue
        reader = TakesIdsAsTheyCome()
        reader.feed(answer[:cut])
        had = [data for data in reader.messages if b"streamNextOffset" not in data]
        assert to_position(reader.resume_from.decode() or "0" * 16) == len(had)


def test_a_batch_is_an_array_of_the_packets_as_they_are() -> None:
    assert JSON_BATCH.batch([]) == b"[]"
    for log in LOGS:
        body = JSON_BATCH.batch(log)
        assert json.loads(body) == [json.loads(packet) for packet in log]
        assert body[1:-1].split(b",\n") == log


def control(answer: bytes) -> list[dict[str, object]]:
    reader = EventReader()
    reader.feed(answer)
    return [json.loads(data) for kind, data in reader.events if kind == b"control"]


def test_a_control_event_says_where_a_batch_ends() -> None:
    assert control(BATCHES.encode([b"{}", b"{}"], 3, closed=False)) == [
        {"streamNextOffset": "0000000000000005", "upToDate": True, "streamCursor": "1000"}
    ]


def test_the_last_control_event_closes_the_stream() -> None:
    assert control(BATCHES.encode([], 5, closed=True)) == [
        {"streamNextOffset": "0000000000000005", "upToDate": True, "streamClosed": True}
    ]


IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
DESKTOP = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36"


@pytest.mark.parametrize(
    ("agent", "accept", "query", "expected"),
    [
        (IPHONE, "*/*", "", PHONE),
        ("opera mini/8", None, "", PHONE),
        ("some ANDROID thing", "application/json", "", PHONE),
        ("BlackBerry9700/5.0", None, "", PHONE),
        ("x iemobile y", None, "", PHONE),
        (DESKTOP, "text/html,application/xhtml+xml,*/*;q=0.8", "", None),
        ("okhttp/4.12.0", None, "", None),
        ("PinApp/1 CFNetwork/1474 Darwin/23.0.0", "*/*", "", None),
        (None, None, "", None),
        (DESKTOP, "application/x-ndjson", "", NDJSON),
        (IPHONE, "application/x-ndjson", "", NDJSON),
        (IPHONE, "text/event-stream", "", SSE),
        (DESKTOP, "text/event-stream;q=0.5, application/x-ndjson", "", NDJSON),
        (DESKTOP, "text/event-stream, application/x-ndjson;q=0.5", "", SSE),
        (DESKTOP, "application/x-ndjson;q=0, */*", "", None),
        (DESKTOP, "APPLICATION/X-NDJSON", "", NDJSON),
        (DESKTOP, "Text/Event-Stream ; Q=0.3", "", SSE),
        (DESKTOP, 'application/x-ndjson; charset="utf-8"', "", NDJSON),
        (DESKTOP, "application/x-ndjson;q=0.5, application/json", "", None),
        (IPHONE, "application/x-ndjson;q=0.5, application/json", "", PHONE),
        (DESKTOP, "application/x-ndjson;q=0.5, application/json;q=0.1, */*", "", NDJSON),
        (DESKTOP, "application/x-ndjson;q=0.5, */*;q=0.8", "", None),
        (DESKTOP, "application/json, application/x-ndjson", "", NDJSON),
        (DESKTOP, "text/event-stream, application/x-ndjson", "", SSE),
        (DESKTOP, "application/x-ndjson;q=2, text/event-stream;q=nonsense", "", None),
        (DESKTOP, "application/x-ndjson;q=0.000", "", None),
        (DESKTOP, None, "?response=stream", PHONE),
        (IPHONE, None, "?response=", PHONE),
        (IPHONE, None, "?response=undefined", PHONE),
        (DESKTOP, None, "?response=null", None),
        (DESKTOP, "application/x-ndjson", "?response=stream", NDJSON),
        (DESKTOP, None, "?response=sse", SSE),
        (IPHONE, "application/x-ndjson", "?response=json", None),
    ],
)
async def test_who_gets_which_answer(
    agent: str | None, accept: str | None, query: str, expected: Framing | None
) -> None:
    headers = {
        name: value for name, value in (("User-Agent", agent), ("Accept", accept)) if value is not None
    }
    async with Quart(__name__).test_request_context("/" + query, headers=headers):
        assert choose(request) is expected


async def test_a_header_in_several_lines_is_one_list() -> None:
    lines = Headers([("Accept", "application/json;q=0.1"), ("Accept", "text/event-stream")])
    async with Quart(__name__).test_request_context("/", headers=lines):
        assert choose(request) is SSE


@pytest.mark.parametrize("query", ["?response=html", "?response=xml", "?response=STREAM"])
async def test_an_answer_nobody_makes_is_refused(query: str) -> None:
    async with Quart(__name__).test_request_context("/" + query):
        with pytest.raises(PinactorsError) as refusal:
            choose(request)
    assert (refusal.value.code, refusal.value.field) == ("invalid_format", "response")


async def test_accept_alone_names_no_stream_by_wildcard() -> None:
    async with Quart(__name__).test_request_context("/", headers={"Accept": "text/*, application/*;q=0.9"}):
        assert accepted(request) is None
