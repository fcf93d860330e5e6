"""Errors that end a session at the proxy: no master, no time left, no reader, an unreadable upload."""

from __future__ import annotations

from pinactors.protocol import ErrorCode, PinactorsError

NO_MASTER = PinactorsError(
    ErrorCode.OVERLOADED, "Server busy, try again later", "No server can accept the upload now", status=503
)
SESSION_LOST = PinactorsError(
    ErrorCode.PROCESSING_ERROR, "Processing error", "No server finished the analysis"
)
OUT_OF_TIME = PinactorsError(
    ErrorCode.PROCESSING_ERROR, "Processing error", "No server finished the analysis in time"
)
ABANDONED = PinactorsError(ErrorCode.CANCELLED, "Analysis cancelled", "Its last reader disconnected")
UNREADABLE = PinactorsError(
    ErrorCode.OVERLOADED,
    "Storage unavailable",
    "The server could not store the upload; please send it again later",
)
