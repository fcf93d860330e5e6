"""Errors that end a session at the proxy: no master, no time left, an unreadable upload. Each is made anew
where it is needed: an exception that is raised again keeps the frames of all who raised it."""

from __future__ import annotations

from pinactors.protocol import ErrorCode, PinactorsError, busy, storage_unavailable, stream_unavailable


def no_master() -> PinactorsError:
    return busy("No server can accept the upload now")


def session_lost() -> PinactorsError:
    return PinactorsError(ErrorCode.PROCESSING_ERROR, "Processing error", "No server finished the analysis")


def out_of_time() -> PinactorsError:
    detail = "No server finished the analysis in time"
    return PinactorsError(ErrorCode.PROCESSING_ERROR, "Processing error", detail)


def unreadable() -> PinactorsError:
    return storage_unavailable()


def stream_unreachable() -> PinactorsError:
    return stream_unavailable("The server with this stream does not answer")
