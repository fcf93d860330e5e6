"""Packets: the JSON objects of a stream, and the size cap.

A packet is a `Packet` struct. `Packet.encode` serialises it as it is; `Packet.encoded` leaves session, time
and sequence open, which `EncodedPacket.stamped` fills in without encoding the rest again.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Literal, Self

import msgspec
from msgspec import UNSET, UnsetType

from pinactors.protocol.errors import ErrorCode, PinactorsError
from pinactors.protocol.identifiers import SESSION_ID_LIMIT
from pinactors.protocol.parts import AlsoSeen, Candidate, Estimate, Evidence, Suggestion, Verdict
from pinactors.protocol.views import View

PACKET_LIMIT = 8192
"""Bytes of one encoded packet, without its newline: the clients' line buffer."""

OPENING_PADDING = 513
"""Bytes the opening packet is padded to: iOS withholds the first 512 of a response."""

DEADLINE_SECONDS = 90.0
KEEPALIVE_SECONDS = 5.0

TERMINAL = frozenset({"ANALYSIS_COMPLETE", "ERROR"})
"""Types of the packets after which nothing follows. Every stream ends in exactly one."""

BASIC_NOTE = "Basic analysis used due to processing constraints"
TIMEOUT_NOTE = "Analysis timed out"


class Packet(msgspec.Struct, rename="camel", tag_field="packetType", kw_only=True):
    """What every packet has. `demonstration`: the catalogue in use is drawn, its pins and sales made up."""

    session_id: str = ""
    timestamp: str = ""
    sequence: int = -1
    demonstration: bool | UnsetType = UNSET

    @property
    def packet_type(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def terminal(self) -> bool:
        return self.packet_type in TERMINAL

    def facts(self) -> dict[str, Any]:
        """What the record of the analysis keeps of this packet, beside its bytes, by name."""
        return {"demonstration": True} if self.demonstration is True else {}

    def smaller(self) -> Self | None:
        """The same packet with its least important part left out, or None when nothing can go."""
        return None

    def encode(self) -> bytes:
        """One JSON line without its newline, at most `PACKET_LIMIT` bytes.

        Raises `ValueError` when even the smallest form is over the limit.
        """
        packet: Packet | None = self
        while packet is not None:
            encoded = _ENCODER.encode(packet)
            if len(encoded) <= PACKET_LIMIT:
                return encoded.ljust(OPENING_PADDING) if isinstance(self, ConnectionEstablished) else encoded
            packet = packet.smaller()
        raise ValueError(f"{self.packet_type} does not fit {PACKET_LIMIT} bytes")

    def encoded(self) -> EncodedPacket:
        """This packet encoded for whatever session, time and sequence are written into it later.

        Raises `ValueError` when even the smallest form is over the limit.
        """
        stamped = msgspec.structs.replace(
            self, session_id=_LONGEST_SESSION_ID, timestamp=_SOME_TIMESTAMP, sequence=_LAST_SEQUENCE
        )
        session_id = _ENCODER.encode(_LONGEST_SESSION_ID)
        head = _head(self.packet_type, session_id, _SOME_TIMESTAMP, _LAST_SEQUENCE)
        return EncodedPacket(self.packet_type, stamped.encode()[len(head) :].rstrip(), self.facts())


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """A packet's JSON behind its session id, time and sequence; small enough for any of those.

    `facts` are its `Packet.facts`.
    """

    packet_type: str
    rest: bytes
    facts: dict[str, Any]

    @classmethod
    def of(cls, stamped: bytes) -> Self:
        """What `stamped` was made of, without its facts. Raises `ValueError` for anything that was not."""
        found = _STAMPED.match(stamped)
        if found is None:
            raise ValueError("not a packet as this program writes them")
        return cls(found["type"].decode(), stamped[found.end() :].rstrip(), {})

    def marked(self) -> EncodedPacket:
        """The same packet of a demonstration."""
        if self.rest.startswith(_MARK):
            return self
        return EncodedPacket(self.packet_type, _MARK + self.rest, self.facts | {"demonstration": True})

    def stamped(self, session_id: bytes, at: str, sequence: int) -> bytes:
        """One JSON line without its newline; `session_id` is JSON already, `at` a `timestamp`."""
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
"""What a packet of a demonstration begins with, behind its head: where `Packet` declares it."""

_LONGEST_SESSION_ID = '"' * SESSION_ID_LIMIT + "x" * len(_MARK)
"""A quote takes two bytes in JSON. Longer by the mark than any there is: whatever fits can be marked."""

_SOME_TIMESTAMP = "2000-01-01T00:00:00.000Z"
_LAST_SEQUENCE = 99


class ConnectionEstablished(Packet, tag="CONNECTION_ESTABLISHED", kw_only=True):
    """The opening packet. Its URLs are relative to the server's: clients need not build any."""

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
    """Work has begun; `message` says how many others wait, where that takes long."""

    message: str


class AuthenticationResult(Packet, tag="AUTHENTICATION_RESULT", kw_only=True):
    """`authenticity_rating` 0 to 100, `confidence` 0 to 1; `summary` says what counted most, for and
    against; `advice` what would settle it. `calibration` names the version of weights that decided."""

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
    """`identified`: the first candidate is claimed; without it candidates are only resemblances."""

    characters: str
    identification: str
    candidates: list[Candidate]
    identified: bool = False
    suggestions: list[Suggestion] | UnsetType = UNSET
    also_seen: list[AlsoSeen] = msgspec.field(default_factory=list)

    def smaller(self) -> Self | None:
        if self.also_seen:
            return msgspec.structs.replace(self, also_seen=self.also_seen[:-1])
        return msgspec.structs.replace(self, candidates=self.candidates[:-1]) if self.candidates else None

    def facts(self) -> dict[str, Any]:
        claimed = self.candidates[0] if self.identified else None
        return super().facts() | ({"pin_id": claimed.pin_id, "pin_name": claimed.name} if claimed else {})


class PricingAnalysis(Packet, tag="PRICING_ANALYSIS", kw_only=True):
    """`sales` are the newest dated rows behind the estimate, for a chart; `reason` says why there is none."""

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
    """What is known of the pin: in words, and in `details` field by field."""

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
    """The pin cut out of each photograph, as HTML to show."""

    front_html: str
    back_html: str | UnsetType = UNSET
    angled_html: str | UnsetType = UNSET


class AnalysisComplete(Packet, tag="ANALYSIS_COMPLETE", kw_only=True):
    """The last packet of an analysis that ended well. `degraded` components gave their basic analysis."""

    success: Literal[True] = True
    complete: Literal[True] = True
    id: int
    message: str
    processing_time: int
    degraded: list[str]
    missing: list[str]


class ErrorPacket(Packet, tag="ERROR", kw_only=True):
    """The session cannot go on. `field` is what is at fault, named as it was sent; `view` the photograph."""

    success: Literal[False] = False
    message: str
    error: str
    error_code: ErrorCode
    field: str | UnsetType = UNSET
    view: View | UnsetType = UNSET

    @classmethod
    def of(cls, error: PinactorsError) -> Self:
        """The packet that tells a client of `error`."""
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

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(AnyPacket)


def decode(encoded: bytes | str) -> Packet:
    """One packet from its JSON. Raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    packet: Packet = _DECODER.decode(encoded)
    return packet


def stream_urls(stream_id: str) -> dict[str, str]:
    """Where a session is read (`GET`), cancelled (`DELETE`), and asked for what it has said so far (`GET`: an
    array of packets, complete when the answer's `Stream-Closed` is `true`)."""
    url = f"/streams/{stream_id}"
    return {"streamUrl": url, "cancelUrl": url, "statusUrl": f"{url}?offset=-1"}


def timed_out() -> AuthenticationResult:
    """The packet that answers for authenticity when the deadline decided."""
    return AuthenticationResult(
        authentic=False,
        authenticity_rating=0,
        confidence=0.0,
        note=TIMEOUT_NOTE,
        verdict=Verdict.UNDETERMINED,
        evidence=[],
    )


def timestamp(now: dt.datetime | None = None) -> str:
    """ISO 8601, UTC, milliseconds, `Z`."""
    now = now or dt.datetime.now(dt.UTC)
    return now.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
