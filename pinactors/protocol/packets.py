"""Packets: the JSON objects of a stream, and the size cap.

A packet is a `Packet` struct. `Packet.encode` serialises it unchanged. `Packet.encoded` omits session id,
time and sequence; `EncodedPacket.stamped` adds them without encoding the rest again.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import msgspec
from msgspec import UNSET, UnsetType

from pinactors.protocol.errors import ErrorCode, PinactorsError
from pinactors.protocol.identifiers import SESSION_ID_LIMIT
from pinactors.protocol.parts import AlsoSeen, Candidate, Estimate, Evidence, Suggestion, Verdict
from pinactors.protocol.views import View

PACKET_LIMIT = 8192
"""Largest size in bytes of one encoded packet, without its newline: the size of the clients' line buffer."""

OPENING_PADDING = 513
"""Bytes to which the opening packet is padded, because iOS holds back the first 512 bytes of a response."""

DEADLINE_SECONDS = 90.0
KEEPALIVE_SECONDS = 5.0

TERMINAL = frozenset({"ANALYSIS_COMPLETE", "ERROR"})
"""Packet types that end a stream. Every stream ends with exactly one such packet."""

NOT_IDENTIFIED = "Not identified"
"""`characters` of a packet in which no pin is identified: clients show the field as it is."""

BASIC_NOTE = "Basic analysis used due to processing constraints"
TIMEOUT_NOTE = "Analysis timed out"


class Packet(msgspec.Struct, rename="camel", tag_field="packetType", kw_only=True):
    """The fields of every packet. `demonstration` means that the catalogue's pins and sales are invented."""

    session_id: str = ""
    timestamp: str = ""
    sequence: int = -1
    demonstration: bool | UnsetType = UNSET

    @property
    def packet_type(self) -> str:
        return packet_type_of(type(self))

    def facts(self) -> dict[str, Any]:
        """Values by name that the record of the analysis stores besides the packet itself."""
        return {"demonstration": True} if self.demonstration is True else {}

    def smaller(self) -> Self | None:
        """The same packet without its least important part, or None if nothing can be left out."""
        return None

    def encode(self) -> bytes:
        """The packet as one JSON line without its newline, made smaller until it fits `PACKET_LIMIT` bytes.

        Raises `ValueError` if even the smallest form is over the limit.
        """
        packet: Packet | None = self
        while packet is not None:
            encoded = _ENCODER.encode(packet)
            if len(encoded) <= PACKET_LIMIT:
                return encoded.ljust(OPENING_PADDING) if isinstance(self, ConnectionEstablished) else encoded
            packet = packet.smaller()
        raise ValueError(f"{self.packet_type} does not fit {PACKET_LIMIT} bytes")

    def encoded(self) -> EncodedPacket:
        """This packet encoded, small enough for any session id, time and sequence that are added later.

        Raises `ValueError` if even the smallest form is over the limit.
        """
        stamped = msgspec.structs.replace(
            self, session_id=_LONGEST_SESSION_ID, timestamp=_SOME_TIMESTAMP, sequence=_LAST_SEQUENCE
        )
        session_id = _ENCODER.encode(_LONGEST_SESSION_ID)
        head = _head(self.packet_type, session_id, _SOME_TIMESTAMP, _LAST_SEQUENCE)
        return EncodedPacket(self.packet_type, stamped.encode()[len(head) :].rstrip(), self.facts())


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """A packet's JSON after session id, time and sequence (`rest`); small enough for any of these.

    `facts` are its `Packet.facts`.
    """

    packet_type: str
    rest: bytes
    facts: dict[str, Any]

    @classmethod
    def of(cls, stamped: bytes) -> Self:
        """The packet from which `stamped` was made, without facts. Raises `ValueError` for other bytes."""
        found = _STAMPED.match(stamped)
        if found is None:
            raise ValueError("not a packet as this program writes them")
        return cls(found["type"].decode(), stamped[found.end() :].rstrip(), {})

    def marked(self) -> EncodedPacket:
        """The same packet, marked as a demonstration."""
        if self.rest.startswith(_MARK):
            return self
        return EncodedPacket(self.packet_type, _MARK + self.rest, self.facts | {"demonstration": True})

    def stamped(self, session_id: bytes, at: str, sequence: int) -> bytes:
        """The packet as one JSON line without its newline. `session_id` is JSON, `at` a `timestamp`."""
        line = _head(self.packet_type, session_id, at, sequence) + self.rest
        return line.ljust(OPENING_PADDING) if self.packet_type == "CONNECTION_ESTABLISHED" else line


def _head(packet_type: str, session_id: bytes, at: str, sequence: int) -> bytes:
    """The first members of a packet, in the order in which `Packet` declares them."""
    return b'{"packetType":"%b","sessionId":%b,"timestamp":"%b","sequence":%d' % (
        packet_type.encode(),
        session_id,
        at.encode(),
        sequence,
    )


_STAMPED = re.compile(
    rb'\{"packetType":"(?P<type>\w+)","sessionId":"(?:[^"\\]|\\.)*","timestamp":"[^"]*","sequence":\d+'
)

_MARK = b',"demonstration":true'
"""The mark of a demonstration packet. It follows the head, the place of the field in `Packet`."""

_LONGEST_SESSION_ID = '"' * SESSION_ID_LIMIT + "x" * len(_MARK)
"""Quotes take two bytes each in JSON. Longer by the mark, so that every packet that fits can be marked."""

_SOME_TIMESTAMP = "2000-01-01T00:00:00.000Z"
_LAST_SEQUENCE = 99


class ConnectionEstablished(Packet, tag="CONNECTION_ESTABLISHED", kw_only=True):
    """The opening packet. Its URLs are relative to the server's, so that clients need not build them."""

    message: str
    stream_id: str
    deadline_ms: int
    stream_url: str = ""
    cancel_url: str = ""
    status_url: str = ""

    def __post_init__(self) -> None:
        urls = stream_urls(self.stream_id)
        self.stream_url, self.cancel_url, self.status_url = (
            urls["streamUrl"],
            urls["cancelUrl"],
            urls["statusUrl"],
        )


class ProcessingStarted(Packet, tag="PROCESSING_STARTED", kw_only=True):
    """The analysis has begun. If the wait is long `message` says how many other sessions wait."""

    message: str


class AuthenticationResult(Packet, tag="AUTHENTICATION_RESULT", kw_only=True):
    """The verdict: `authenticity_rating` 0 to 100, `confidence` 0 to 1; `summary` has the strongest evidence
    for and against, `advice` what would decide it, `calibration` the version of the evidence weights."""

    authentic: bool
    authenticity_rating: int
    confidence: float
    note: str | UnsetType = UNSET
    verdict: Verdict
    evidence: list[Evidence]
    summary: str | UnsetType = UNSET
    advice: list[str] | UnsetType = UNSET
    calibration: str | UnsetType = UNSET

    def smaller(self) -> Self | None:
        if not self.evidence:
            return None
        lightest = min(self.evidence, key=lambda row: (row.assessed, abs(row.weight)))
        return msgspec.structs.replace(self, evidence=[row for row in self.evidence if row is not lightest])

    def facts(self) -> dict[str, Any]:
        return super().facts() | {
            "verdict": str(self.verdict),
            "authentic": self.authentic,
            "rating": self.authenticity_rating,
            "confidence": self.confidence,
        }


class CharacterIdentification(Packet, tag="CHARACTER_IDENTIFICATION", kw_only=True):
    """Candidates for the pin. If `identified`, the first is claimed to be it; else all are only similar.

    `characters` is never empty: a pin whose catalogue entry has none is called by its name.
    """

    characters: str
    identification: str
    candidates: list[Candidate]
    identified: bool = False
    suggestions: list[Suggestion] | UnsetType = UNSET
    also_seen: list[AlsoSeen] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.characters.strip():
            name = self.candidates[0].name if self.identified and self.candidates else ""
            self.characters = name or NOT_IDENTIFIED

    def smaller(self) -> Self | None:
        if self.also_seen:
            return msgspec.structs.replace(self, also_seen=self.also_seen[:-1])
        return msgspec.structs.replace(self, candidates=self.candidates[:-1]) if self.candidates else None

    def facts(self) -> dict[str, Any]:
        claimed = self.candidates[0] if self.identified else None
        return super().facts() | ({"pin_id": claimed.pin_id, "pin_name": claimed.name} if claimed else {})


class PricingAnalysis(Packet, tag="PRICING_ANALYSIS", kw_only=True):
    """The price. `sales` has the estimate's newest dated sales; `reason` says why there is no estimate."""

    pricing: str
    estimate: Estimate | None
    method: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    sales: list[dict[str, Any]] | UnsetType = UNSET

    def smaller(self) -> Self | None:
        if self.sales is UNSET or not self.sales:
            return None
        return msgspec.structs.replace(self, sales=self.sales[: len(self.sales) // 2])


class DetailedAnalysis(Packet, tag="DETAILED_ANALYSIS", kw_only=True):
    """A description of the pin: as text in `analysis`, and field by field in `details`."""

    analysis: str
    details: dict[str, Any]
    suggestions: list[Suggestion] | UnsetType = UNSET

    def smaller(self) -> Self | None:
        if not self.details:
            return None
        largest = max(self.details, key=lambda name: len(_ENCODER.encode(self.details[name])))
        rest = {name: value for name, value in self.details.items() if name != largest}
        return msgspec.structs.replace(self, details=rest)


class HtmlDisplayData(Packet, tag="HTML_DISPLAY_DATA", kw_only=True):
    """The pin cut out of each photograph, as HTML for display."""

    front_html: str
    back_html: str | UnsetType = UNSET
    angled_html: str | UnsetType = UNSET


class AnalysisComplete(Packet, tag="ANALYSIS_COMPLETE", kw_only=True):
    """The last packet of a successful analysis. `degraded` components gave only their basic analysis."""

    success: Literal[True] = True
    complete: Literal[True] = True
    id: int
    message: str
    processing_time: int
    degraded: list[str]
    missing: list[str]


class ErrorPacket(Packet, tag="ERROR", kw_only=True):
    """The failure of a session. `field` is the field at fault, as it was sent, and `view` its photograph."""

    success: Literal[False] = False
    message: str
    error: str
    error_code: ErrorCode
    field: str | UnsetType = UNSET
    view: View | UnsetType = UNSET

    @classmethod
    def of(cls, error: PinactorsError) -> Self:
        """The packet that reports `error` to a client."""
        return cls(
            message=error.message,
            error=error.detail,
            error_code=error.code,
            field=error.field or UNSET,
            view=View(error.view) if error.view else UNSET,
        )


AnyPacket = (
    ConnectionEstablished
    | ProcessingStarted
    | AuthenticationResult
    | CharacterIdentification
    | PricingAnalysis
    | DetailedAnalysis
    | HtmlDisplayData
    | AnalysisComplete
    | ErrorPacket
)


def packet_type_of(packet: type[Packet]) -> str:
    """The `packetType` of a class of packets."""
    return str(packet.__struct_config__.tag)


PACKET_TYPES: dict[str, type[Packet]] = {packet_type_of(packet): packet for packet in get_args(AnyPacket)}
"""The classes of the wire contract's packets by their `packetType`; plug-ins may add others."""

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(AnyPacket)


def decode(encoded: bytes | str) -> Packet:
    """One packet from its JSON. Raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    packet: Packet = _DECODER.decode(encoded)
    return packet


def stream_urls(stream_id: str) -> dict[str, str]:
    """The URLs to read a session (`GET`), to cancel it (`DELETE`), and to get its packets so far (`GET`: an
    array of packets, complete if the answer's `Stream-Closed` is `true`)."""
    url = f"/streams/{stream_id}"
    return {"streamUrl": url, "cancelUrl": url, "statusUrl": f"{url}?offset=-1"}


def timed_out() -> AuthenticationResult:
    """The authenticity packet for an analysis that the deadline cut short."""
    return AuthenticationResult(
        authentic=False,
        authenticity_rating=0,
        confidence=0.0,
        note=TIMEOUT_NOTE,
        verdict=Verdict.UNDETERMINED,
        evidence=[],
    )


def timestamp(now: dt.datetime | None = None) -> str:
    """A time, by default the present, in ISO 8601: UTC, with milliseconds and `Z`."""
    now = now or dt.datetime.now(dt.UTC)
    return now.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
