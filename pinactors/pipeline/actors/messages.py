"""The messages from a session's tasks to packet assembly: each becomes a packet or an entry of the log, or
controls the log."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from pinactors.pipeline.declaration import Component
from pinactors.pipeline.state import Fact, Outcome
from pinactors.protocol import EncodedPacket, PinactorsError


@dataclass(frozen=True, slots=True)
class Connected:
    """The session begins; becomes its first packet."""

    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Started:
    """The analysis begins. `at` is a Unix time, `waiting` the number of sessions that wait for workers if the
    wait is long, else 0."""

    at: float
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a component; `packet` is None if it has none."""

    component: Component
    outcome: Outcome
    packet: EncodedPacket | None


@dataclass(frozen=True, slots=True)
class Repeat:
    """A packet of the earlier session of the same upload, to be sent as this session's next packet."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """A request to set `written` when all messages sent before are in the log."""

    written: trio.Event


@dataclass(frozen=True, slots=True)
class Finish:
    """The terminal packet, stamped, exactly as it is in the record."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The session ends with an `ERROR`."""

    error: PinactorsError


@dataclass(frozen=True, slots=True)
class Dropped:
    """Another session answers this upload; the log ends without a terminal packet."""


Message = Fact | Connected | Started | Result | Repeat | Flush | Finish | Failed | Dropped
