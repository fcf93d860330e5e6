"""The last steps of a successful session: results of components that the deadline cut short, and the last
packet, which carries the number of the record."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from pinactors.pipeline.actors.messages import Result
from pinactors.pipeline.declaration import Analysis
from pinactors.pipeline.state import Outcome, SessionState
from pinactors.protocol import (
    AnalysisComplete,
    AuthenticationResult,
    ErrorCode,
    PinactorsError,
    timed_out,
    timestamp,
)


def undecided(analysis: Analysis, state: SessionState) -> Iterator[Result]:
    """Results for the components that have not ended at the deadline: authenticity gets a packet that says it
    timed out, the others are missing."""
    for component in analysis.components:
        if component.name not in state.outcomes:
            packet = timed_out().encoded() if component.packet is AuthenticationResult else None
            yield Result(component, Outcome.TIMED_OUT, packet)


def final_packet(state: SessionState, elapsed_ms: int, number: int) -> bytes:
    """The encoded `ANALYSIS_COMPLETE` packet of record `number`, with session id, sequence and time."""
    missing = state.missing
    packet = AnalysisComplete(
        id=number,
        message=f"Analysis complete without {', '.join(missing)}" if missing else "Analysis complete",
        processing_time=elapsed_ms,
        degraded=state.degraded,
        missing=missing,
        demonstration=state.facts.get("demonstration", UNSET),
    )
    packet.session_id, packet.sequence, packet.timestamp = (
        state.session_id,
        len(state.packets),
        timestamp(),
    )
    return packet.encode()


def not_recorded() -> PinactorsError:
    """The error that ends a session without a record: an `ANALYSIS_COMPLETE` needs the record's id."""
    return PinactorsError(
        ErrorCode.PROCESSING_ERROR,
        "Results are final but not recorded yet",
        "The database cannot be reached. The results above are final and will be stored when it can be",
    )
