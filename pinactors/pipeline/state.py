"""Session state: the content of a session's log, from which its record is made."""

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
    """How a component ended; each has exactly one outcome, unless its session ended before it."""

    FULL = "full"
    BASIC = "basic"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


class Fact(msgspec.Struct, tag=True, frozen=True):
    """An entry of a session's log that is not a packet."""


class Opened(Fact, frozen=True):
    stream_id: str
    session_id: str
    owner: str
    idempotency_key: str | None


class Arrived(Fact, frozen=True):
    """A photograph has arrived; `field` is the name of the field in which it was sent."""

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
    """The state of one session. Only packet assembly changes it while the session runs.

    `started_at` and `ends_at` are the Unix times of the begin of the analysis and of its deadline; None until
    known. `packets` are encoded, in order, including the terminal one; `components` has the name of the
    component that made each packet, empty if none did. `webhook` is the upload's. `facts` are values from the
    packets that the record stores. `analysed` means that every component has ended, so that a later `ERROR`
    concerns only the record. `repeats` means that the packets, and the record, are those of an earlier
    session of the same upload.
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
        """Components whose packet does not come from full analysis."""
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
        """Adds a packet; `component` is `NO_COMPONENT` if no component made it."""
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
    """The state that results from a log's entries; None if none of them is `Opened`, which names the session.

    Raises `ValueError` for entries in another format than this module writes.
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
    """The facts of a packet for the record; empty for a packet type of a plug-in."""
    try:
        return decode(packet).facts()
    except msgspec.ValidationError:
        return {}
