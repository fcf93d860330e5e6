"""Hypercorn's HTTP/1.1 and WebSocket protocols as this server speaks them."""

from __future__ import annotations

from typing import Any

import h11
import msgspec
from hypercorn.events import Closed
from hypercorn.protocol.h11 import H11WSConnection

from api.errors import body_of
from api.http.websocket_stream import PiecewiseProtocol
from pinactors.protocol import ErrorCode, PinactorsError


class ProtocolRefused(Exception):
    """The client speaks what this server does not; it has been told so."""


class PatientParser(h11.Connection):
    """A client that asks before it sends a body (`Expect: 100-continue`) is answered when somebody wants the
    body, not when its head is read: a refusal then costs it nothing."""

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        return False

    @property
    def asked(self) -> bool:
        return super().they_are_waiting_for_100_continue


class Protocol(PiecewiseProtocol):
    """HTTP/1.1 and WebSocket, never HTTP/2: there a refused upload and a client that stops reading are both
    dangerous (PRI and h2c are refused or ignored, and without TLS there is no ALPN to offer it)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection = PatientParser(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )

    async def invite(self) -> None:
        """The body is wanted."""
        if isinstance(self.connection, PatientParser) and self.connection.asked:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    @property
    def said_all(self) -> bool:
        """Whether nothing may be sent any more: Hypercorn leaves a refused handshake open."""
        parser = self.connection
        if isinstance(parser, H11WSConnection):
            parser = parser.h11_connection
        return parser.our_state in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version not in (b"1.0", b"1.1"):
            await self._send_error_response(505)
            await self.send(Closed())
            raise ProtocolRefused

    async def _send_error_response(self, status_code: int) -> None:
        """What cannot be parsed is refused in the shape of every other refusal."""
        code = ErrorCode.TOO_LARGE if status_code in (413, 414, 431) else ErrorCode.INVALID_FORMAT
        body = msgspec.json.encode(
            body_of(PinactorsError(code, "Malformed request", "This is no valid HTTP/1.1"))
        )
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
