"""How a session ends well: what the deadline left undecided, and the last packet, which names the record."""

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
    """How the components that have not ended do so at the deadline: authenticity says that it timed out, the
    others are missing."""
    for component in analysis.components:
        if component.name not in state.outcomes:
            packet = timed_out().encoded() if component.packet is AuthenticationResult else None
            yield Result(component, Outcome.TIMED_OUT, packet)


def final_packet(state: SessionState, elapsed_ms: int, number: int) -> bytes:
    """The `ANALYSIS_COMPLETE` of the record `number`, stamped."""
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
    """Instead of an `ANALYSIS_COMPLETE`, whose id would have to be invented."""
    return PinactorsError(
        ErrorCode.PROCESSING_ERROR,
        "Results are final but not recorded yet",
        "The database is away. The results above are final and will be stored when it is back",
    )
