"""Session state: all that a session's log holds and that its record is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from pinactors.protocol import View, decode
from pinactors.storage.logs.packet_logs import Entry
from pinactors.storage.stored_image import StoredImage


class Outcome(StrEnum):
    """How a component ended; each ends in exactly one of these, unless its session ended before it."""

    FULL = "full"
    BASIC = "basic"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


class Fact(msgspec.Struct, tag=True, frozen=True):
    """Something about a session that is not a packet and that its log keeps."""


class Opened(Fact, frozen=True):
    stream_id: str
    session_id: str
    owner: str
    idempotency_key: str | None


class Arrived(Fact, frozen=True):
    """A photograph is in; `field` is the name it was sent under."""

    view: View
    path: str
    sha256: str
    size: int
    field: str = ""


class Began(Fact, frozen=True):
    at: float


class UploadComplete(Fact, frozen=True):
    ends_at: float
    webhook: str = ""


class Ended(Fact, frozen=True):
    """A component ended without a packet."""

    component: str
    outcome: Outcome


class Analysed(Fact, frozen=True):
    """Every component has ended."""


class Repeats(Fact, frozen=True):
    """The packets are those of an earlier session of the same upload."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Opened | Arrived | Began | UploadComplete | Ended | Analysed | Repeats)

NO_COMPONENT = "-"


@dataclass(slots=True)
class SessionState:
    """`started_at` and `ends_at` are Unix times: when work began and when its deadline is; None before.

    `packets` are encoded, in order, the terminal one included; `components` names who made each, empty where
    no component did. `webhook` is the upload's. `facts` are what the record keeps of them.
    `analysed`: every component has ended, so that an `ERROR` after it concerns the record alone. `repeats`:
    the packets are those of an earlier session of the same upload, and so is the record.

    Only packet assembly changes it while the session lives.
    """

    stream_id: str
    session_id: str
    owner: str
    idempotency_key: str | None
    images: dict[View, StoredImage] = field(default_factory=dict)
    fields: dict[View, str] = field(default_factory=dict)
    started_at: float | None = None
    ends_at: float | None = None
    webhook: str = ""
    packets: list[bytes] = field(default_factory=list)
    components: list[str] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    with_packet: set[str] = field(default_factory=set)
    facts: dict[str, Any] = field(default_factory=dict)
    analysed: bool = False
    repeats: bool = False

    @property
    def degraded(self) -> list[str]:
        """Components whose packet is not that of the full analysis."""
        return [
            name
            for name, outcome in self.outcomes.items()
            if name in self.with_packet and outcome is not Outcome.FULL
        ]

    @property
    def missing(self) -> list[str]:
        """Components without a packet."""
        return [name for name in self.outcomes if name not in self.with_packet]

    def opened(self) -> Opened:
        return Opened(self.stream_id, self.session_id, self.owner, self.idempotency_key)

    def add_packet(self, packet: bytes, component: str, outcome: str, facts: dict[str, Any]) -> None:
        """`component` is `NO_COMPONENT` for a packet that none made."""
        self.packets.append(packet)
        self.components.append("" if component == NO_COMPONENT else component)
        self.facts |= facts
        if component != NO_COMPONENT:
            self.outcomes[component] = Outcome(outcome)
            self.with_packet.add(component)

    def add_fact(self, fact: Fact) -> None:
        match fact:
            case Arrived():
                self.images[fact.view] = StoredImage(fact.path, fact.sha256, fact.size)
                self.fields[fact.view] = fact.field
            case Began():
                self.started_at = fact.at
            case UploadComplete():
                self.ends_at, self.webhook = fact.ends_at, fact.webhook
            case Ended():
                self.outcomes[fact.component] = fact.outcome
            case Analysed():
                self.analysed = True
            case Repeats():
                self.repeats = True


def entry_of(fact: Fact) -> Entry:
    return Entry("M", _ENCODER.encode(fact))


def packet_entry(packet: bytes, component: str = NO_COMPONENT, outcome: str = NO_COMPONENT) -> Entry:
    return Entry(f"P {component} {outcome}", packet)


def replay(entries: Iterable[Entry]) -> SessionState | None:
    """The state that a log's entries come to; None when they do not even say which session it is.

    Raises `ValueError` for entries that are not as we write them.
    """
    state: SessionState | None = None
    for kind, body in entries:
        if kind == "M":
            fact = _DECODER.decode(body)
            if isinstance(fact, Opened):
                state = SessionState(fact.stream_id, fact.session_id, fact.owner, fact.idempotency_key)
            elif state is not None:
                state.add_fact(fact)
        elif kind.startswith("P ") and state is not None:
            _, component, outcome = kind.split(" ")
            state.add_packet(body, component, outcome, _facts_of(body))
    return state


def _facts_of(packet: bytes) -> dict[str, Any]:
    """Of a packet of one of our own types; what a plug-in's type says is not the record's."""
    try:
        return decode(packet).facts()
    except msgspec.ValidationError:
        return {}
