"""Checks the packets that a master sends, and gives them the phone's sequence number and session id."""

from __future__ import annotations

import re

import msgspec

from pinactors.client.connecting import NotPinactors
from pinactors.protocol import PACKET_LIMIT, PACKET_TYPES, UPLOAD_LOST, decode, is_stream_id

OPENING = "CONNECTION_ESTABLISHED"

_KIND = re.compile(r"[A-Z][A-Z_]{0,63}")


class MasterPacket(msgspec.Struct, rename="camel"):
    """The fields of a packet that the proxy reads."""

    packet_type: str
    sequence: int
    session_id: str
    stream_id: str | None = None
    deadline_ms: int | None = None
    message: str | None = None

    @property
    def upload_lost(self) -> bool:
        """Whether the session ended because the master did not receive the whole upload."""
        return self.packet_type == "ERROR" and self.message in UPLOAD_LOST


_DECODER = msgspec.json.Decoder(MasterPacket)


def read(raw: bytes) -> MasterPacket:
    """Decodes a packet. Raises `NotPinactors` if `raw` is not a packet; packets of unknown types are
    accepted."""
    if len(raw) > PACKET_LIMIT:
        raise NotPinactors(f"it sends a packet of {len(raw)} bytes")
    try:
        packet = _DECODER.decode(raw)
        if packet.packet_type in PACKET_TYPES:
            decode(raw)
        elif not _KIND.fullmatch(packet.packet_type):
            raise NotPinactors(f"it sends packets of an unknown type: {packet.packet_type[:64]!r}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotPinactors(f"it sends something other than packets: {raw[:80]!r}") from error
    if packet.packet_type == OPENING and not is_stream_id(packet.stream_id or ""):
        raise NotPinactors("the id of its stream is not valid")
    return packet


def restamped(raw: bytes, packet: MasterPacket, sequence: int, session_id: str) -> bytes:
    """The packet `raw` with the phone's sequence number and session id; `raw` itself if it has them already.

    Raises `NotPinactors` if the packet becomes too long.
    """
    if (packet.sequence, packet.session_id) == (sequence, session_id):
        return raw
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    fields["sequence"] = msgspec.Raw(msgspec.json.encode(sequence))
    fields["sessionId"] = msgspec.Raw(msgspec.json.encode(session_id))
    stamped = msgspec.json.encode(fields)
    if len(stamped) > PACKET_LIMIT:
        raise NotPinactors(f"it sends a packet of {len(raw)} bytes")
    return stamped
