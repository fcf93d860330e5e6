"""What a session has come to: all that its journal holds and that its record is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pinactors.protocol import AnalysisComplete, Packet, View, decode
from pinactors.storage.stored_image import StoredImage


class Outcome(StrEnum):
    """How a component ended; each ends in exactly one of these, unless its session ended before it."""

    FULL = "full"
    BASIC = "basic"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


@dataclass(slots=True)
class Course:
    """`started_at` and `ends_at` are Unix times: when work began and when its deadline is; None before.

    `packets` are encoded, in order, the terminal one included; the session's packet log shares the list.
    `analysed`: every component has ended, so that an `ERROR` after it concerns the record alone.
    `repeats`: the packets are those of an equal session, and so is the record.
    """

    stream_id: str
    session_id: str
    owner: str
    idempotency_key: str | None
    images: dict[View, StoredImage] = field(default_factory=dict)
    started_at: float | None = None
    ends_at: float | None = None
    packets: list[bytes] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    packed: set[str] = field(default_factory=set)
    analysed: bool = False
    repeats: bool = False

    @property
    def degraded(self) -> list[str]:
        """Components whose packet is not that of the full analysis."""
        return [
            name for name, how in self.outcomes.items() if name in self.packed and how is not Outcome.FULL
        ]

    @property
    def missing(self) -> list[str]:
        """Components without a packet."""
        return [name for name in self.outcomes if name not in self.packed]

    def decoded(self) -> list[Packet]:
        return [decode(packet) for packet in self.packets]


def completed(packets: list[bytes]) -> bool:
    """Whether these are the packets of a session that ended well."""
    return bool(packets) and isinstance(decode(packets[-1]), AnalysisComplete)
