"""Framings: pure encoders of packets, and the choice of a framing for a request.

An encoder turns the packets of one write into bytes. It keeps no state and does no I/O; its only context is
the position of the first packet in the log, so that the bytes for a resumed reader continue those of an
interrupted one exactly. Packets are single lines (they never contain a line break) and are written unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from werkzeug.http import parse_list_header, parse_options_header
from werkzeug.sansio.request import Request

from pinactors.protocol import ErrorCode, PinactorsError, none_if_missing
from pinactors.protocol.offsets import to_offset

NDJSON_TYPE = "application/x-ndjson"
SSE_TYPE = "text/event-stream"
JSON_TYPE = "application/json"


class Framing(Protocol):
    """Encodes a stream of packets. `keepalive` is sent if there is no packet to send for a while; every
    client skips it."""

    @property
    def content_type(self) -> str: ...

    @property
    def keepalive(self) -> bytes: ...

    def encode(self, packets: Sequence[bytes], start: int, *, closed: bool) -> bytes:
        """The bytes of `packets`, the first at `start` in its log; `closed`: no packet follows them."""
        ...


@dataclass(frozen=True, slots=True)
class LineFraming:
    """One packet per line. The type is the phones' `application/json`, or NDJSON's if the client names it."""

    content_type: str = JSON_TYPE
    keepalive: bytes = b"\n"

    def encode(self, packets: Sequence[bytes], start: int, *, closed: bool) -> bytes:
        return b"".join(packet + b"\n" for packet in packets)


@dataclass(frozen=True, slots=True)
class EventFraming:
    """One packet per event. Its id is the offset behind it, which a browser returns as `Last-Event-ID`. The
    keep-alive is a comment without a blank line, which `@microsoft/fetch-event-source` takes for the end of
    an event, so that it would pass on one without data.

    The id is the event's last line: some parsers (`@microsoft/fetch-event-source`) store it as soon as they
    read it, so that a connection which ended between id and data would lose the packet.
    """

    content_type: str = SSE_TYPE
    keepalive: bytes = b":\n"

    def encode(self, packets: Sequence[bytes], start: int, *, closed: bool) -> bytes:
        return b"".join(
            b"data:%b\nid:%b\n\n" % (packet, to_offset(position).encode())
            for position, packet in enumerate(packets, start + 1)
        )


class Encoding(Protocol):
    """Encodes a batch of messages as one body; the public protocol ties it to the stream's content type.

    `text` is True if events carry the messages unchanged; other messages are encoded as base64.
    """

    @property
    def content_type(self) -> str: ...

    @property
    def text(self) -> bool: ...

    def batch(self, messages: Sequence[bytes]) -> bytes: ...

    def event_lines(self, messages: Sequence[bytes]) -> Iterable[bytes]:
        """The batch as lines without line breaks, for a server-sent event."""
        ...


@dataclass(frozen=True, slots=True)
class JsonBatch:
    """A JSON array. Each message starts a line, so that a client can extract the packets' bytes unchanged."""

    content_type: str = JSON_TYPE
    text: bool = True

    def batch(self, messages: Sequence[bytes]) -> bytes:
        return b"[" + b",\n".join(messages) + b"]"

    def event_lines(self, messages: Sequence[bytes]) -> Iterable[bytes]:
        return self.batch(messages).split(b"\n")


@dataclass(frozen=True, slots=True)
class BatchEvents:
    """Events of the public Durable Streams protocol: a batch, then a control event with the next offset.

    `cursor` is the interval number that is sent while the log is open (see `api.streams.durable_streams`).
    """

    encoding: Encoding
    cursor: str
    content_type: str = SSE_TYPE
    keepalive: bytes = b":\n"

    def encode(self, packets: Sequence[bytes], start: int, *, closed: bool) -> bytes:
        offset = to_offset(start + len(packets))
        control: dict[str, Any] = {"streamNextOffset": offset, "upToDate": True}
        control |= {"streamClosed": True} if closed else {"streamCursor": self.cursor}
        data = b""
        if packets:
            lines = b"".join(b"data:%b\n" % line for line in self.encoding.event_lines(packets))
            data = b"event: data\n%bid:%b\n\n" % (lines, offset.encode())
        return data + b"event: control\ndata:%b\n\n" % msgspec.json.encode(control)


PHONE = LineFraming()
NDJSON = LineFraming(NDJSON_TYPE)
SSE = EventFraming()
JSON_BATCH = JsonBatch()

_MOBILE = re.compile(r"Mobile|Android|iPhone|iPad|iPod|BlackBerry|IEMobile|Opera Mini", re.IGNORECASE)
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_BY_TYPE: dict[str, Framing] = {NDJSON_TYPE: NDJSON, SSE_TYPE: SSE}


def accepted(request: Request) -> Framing | None:
    """The stream framing that `Accept` prefers (RFC 9110, 12.5.1); None if it prefers JSON.

    Media types are compared without letter case and parameters. A stream's type has to be named: wildcards
    count for JSON only. Among types of equal quality a stream is preferred to JSON, and the first named
    stream to the others.
    """
    qualities: dict[str, float] = {}
    for named, quality in _media_ranges(", ".join(request.headers.getlist("Accept"))):
        qualities.setdefault(named, quality)
    ranges = (JSON_TYPE, "application/*", "*/*")
    json = next((qualities[name] for name in ranges if name in qualities), 0.0)
    streams = [(kind, quality) for kind, quality in qualities.items() if kind in _BY_TYPE and quality > 0]
    kind, quality = max(streams, key=lambda pair: pair[1], default=("", 0.0))
    return _BY_TYPE[kind] if kind and quality >= json else None


def _media_ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Media ranges in lower case without parameters, each with its quality, in the order given."""
    for element in parse_list_header(accept):
        kind, parameters = parse_options_header(element)
        quality = parameters.get("q", "1").strip()
        if _QUALITY.fullmatch(quality):
            yield kind.strip().lower(), float(quality)


def choose(request: Request, *, by_agent: bool = True) -> Framing | None:
    """The framing of the answer to an upload; None stands for one buffered object.

    `?response=` takes precedence over `Accept`, and `Accept` over the User-Agent, which counts only with
    `by_agent`. Raises `PinactorsError` (`invalid_format`) for a `?response=` that is not `stream`, `sse` or
    `json`.
    """
    by_type = accepted(request)
    match none_if_missing(request.args.get("response")):
        case "stream":
            return NDJSON if by_type is NDJSON else PHONE
        case "sse":
            return SSE
        case "json":
            return None
        case None:
            phone = by_agent and _MOBILE.search(request.headers.get("User-Agent", "")) is not None
            return by_type or (PHONE if phone else None)
        case _:
            raise PinactorsError(
                ErrorCode.INVALID_FORMAT,
                "Invalid response parameter",
                "response must be one of stream, sse, json",
                field="response",
            )
