"""What a session's tasks tell packet assembly: everything that becomes a packet or an entry of the log."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from pinactors.pipeline.declaration import Component
from pinactors.pipeline.state import Fact, Outcome
from pinactors.protocol import EncodedPacket, PinactorsError


@dataclass(frozen=True, slots=True)
class Connected:
    """The session begins: its first packet."""

    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Started:
    """Work begins; `at` is a Unix time, `waiting` how many sessions wait for workers, where that takes
    long."""

    at: float
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """How a component ended; `packet` is None when it has nothing to say."""

    component: Component
    outcome: Outcome
    packet: EncodedPacket | None


@dataclass(frozen=True, slots=True)
class Repeat:
    """A packet of the earlier session of the same upload, as the next one of this session."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """`written` is set when everything sent before is in the log."""

    written: trio.Event


@dataclass(frozen=True, slots=True)
class Finish:
    """The terminal packet, stamped, as the record has it."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The session ends with an `ERROR`."""

    error: PinactorsError


@dataclass(frozen=True, slots=True)
class Dropped:
    """Another session answers this upload: the log ends without a terminal packet."""


Message = Fact | Connected | Started | Result | Repeat | Flush | Finish | Failed | Dropped
