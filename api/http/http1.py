"""Hypercorn's HTTP/1.1 and WebSocket protocols with this server's changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import h11
import msgspec
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h11 import H11WSConnection

from pinactors.api.errors import body_of
from pinactors.api.http.websocket_stream import PiecewiseProtocol
from pinactors.protocol import ErrorCode, PinactorsError

REASONS = {104: b"Upload Resumption Supported"}

_DETAILS = {
    431: "The address and the header fields are too long together",
    501: "Transfer-Encoding must be chunked and nothing else: send the body uncompressed",
    505: "Only HTTP/1.1 and HTTP/1.0 are spoken here",
}
"""What is wrong with a request that cannot be parsed, by the status of its refusal."""


class ProtocolRefused(Exception):
    """The client uses an unsupported protocol version, or an address that is none, and the refusal was
    sent."""


class RequestParser(h11.Connection):
    """h11's parser of requests, with three rules of its own.

    A client that asks before it sends a body (`Expect: 100-continue`) is answered when the handler reads the
    body, not when the head is read: a refused client then sends no body. Blank lines before a request line
    are ignored (RFC 9112, 2.2): some clients send one behind a body that `Content-Length` does not include.
    So is all that follows a connection's last request (RFC 9112, 9.6), which may be such a line.
    """

    def next_event(self) -> Any:
        if self.their_state in (h11.IDLE, h11.MUST_CLOSE):
            # h11 refuses these bytes and has no public way to remove them from its buffer; the tests of both
            # rules in `test_http1` fail if a release removes this private method.
            received = self.trailing_data[0]
            wanted = received.lstrip(b"\r\n") if self.their_state is h11.IDLE else b""
            if ignored := len(received) - len(wanted):
                self._receive_buffer.maybe_extract_at_most(ignored)
        return super().next_event()

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        return False

    @property
    def awaits_continue(self) -> bool:
        return super().they_are_waiting_for_100_continue


class Protocol(PiecewiseProtocol):
    """HTTP/1.1 and WebSocket, but not HTTP/2, with which a refused upload and a client that stops reading are
    both dangerous. A client that begins with HTTP/2 is refused by an HTTP/2 frame, an upgrade to it (h2c) is
    ignored, and without TLS there is no ALPN to offer it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection = RequestParser(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )

    async def invite(self) -> None:
        """Sends 100 Continue if the client waits for it; called when the handler reads the body."""
        if isinstance(self.connection, RequestParser) and self.connection.awaits_continue:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def inform(self, status: int, headers: Mapping[str, str]) -> None:
        """Sends an informational response; does nothing if the final answer has begun."""
        parser = self.connection
        if isinstance(parser, RequestParser) and parser.our_state is h11.SEND_RESPONSE:
            fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            reason = REASONS.get(status, b"")
            await self._send_h11_event(
                h11.InformationalResponse(status_code=status, headers=fields, reason=reason)
            )

    @property
    def sending_ended(self) -> bool:
        """Whether the connection can send no more. Needed because Hypercorn leaves a connection open after a
        refused handshake."""
        parser = self.connection
        if isinstance(parser, H11WSConnection):
            parser = parser.h11_connection
        return parser.our_state in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)

    async def _check_protocol(self, event: h11.Request) -> None:
        if (event.method, event.target, event.http_version) == (b"PRI", b"*", b"2.0"):
            await self.send(RawData(_http2_refusal()))
            await self.send(Closed())
            raise ProtocolRefused
        if event.http_version not in (b"1.0", b"1.1"):
            await self._send_error_response(505)
            await self.send(Closed())
            raise ProtocolRefused
        if not _is_addressed(event):
            await self._send_error_response(400)
            await self.send(Closed())
            raise ProtocolRefused

    async def _send_error_response(self, status_code: int) -> None:
        """Refuses a request that cannot be parsed, with the same body as other errors."""
        code = ErrorCode.TOO_LARGE if status_code in (413, 414, 431) else ErrorCode.INVALID_FORMAT
        detail = _DETAILS.get(status_code, "This is not a valid HTTP/1.1 request")
        body = msgspec.json.encode(body_of(PinactorsError(code, "Malformed request", detail)))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"access-control-allow-origin", b"*"),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def _is_addressed(request: h11.Request) -> bool:
    """Whether the request's target and `Host` can be read as a URL, as Hypercorn and Werkzeug will do."""
    target = request.target.decode("latin-1")
    host = next((value for name, value in request.headers if name == b"host"), b"").decode("latin-1")
    try:
        host.lower().partition(":")[0].encode("idna")
        return target.startswith("/") or target == "*" or bool(urlsplit(target).netloc)
    except ValueError:
        return False


def _http2_refusal() -> bytes:
    """The answer to a client that begins with HTTP/2: GOAWAY with HTTP_1_1_REQUIRED (RFC 9113, 7)."""
    connection = H2Connection(H2Configuration(client_side=False))
    connection.initiate_connection()
    connection.close_connection(ErrorCodes.HTTP_1_1_REQUIRED, b"This server speaks HTTP/1.1 only")
    return bytes(connection.data_to_send())
