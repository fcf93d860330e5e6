"""Errors that are reported to clients: their codes, messages and the exception that carries them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

MISSING_FRONT = "Front image required"
SERVER_BUSY = "Server busy, try again later"
AUTHENTICITY_FAILED = "Authenticity analysis failed"

UPLOAD_LOST = UPLOAD_BROKEN_OFF, UPLOAD_STALLED, UPLOAD_INTERRUPTED = (
    "Upload broken off",
    "Upload stalled",
    "Upload interrupted",
)
"""Messages of errors for photographs that did not arrive completely. Only the server can detect this, because
a client has written all bytes as soon as the kernel has accepted them. Sending them again may succeed."""


REFUSAL_STATUSES = (409, 422, 429, 503)
"""HTTP statuses with which uploads are refused before their session begins."""

SESSION_SECONDS = 5.0
"""After this many seconds an upload that was refused may be sent again: about one session's work."""

STORAGE_RETRY_SECONDS = 30.0
"""The same while the disk is full."""


class ErrorCode(StrEnum):
    """The protocol's name of a failure. Names do not change, while messages may."""

    NOT_FOUND = "not_found"
    MISSING_IMAGE = "missing_image"
    INVALID_FORMAT = "invalid_format"
    TOO_LARGE = "too_large"
    MISSING_FIELDS = "missing_fields"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    INVALID_AGREEMENT = "invalid_agreement"
    RECORD_NOT_FOUND = "record_not_found"
    STREAM_NOT_FOUND = "stream_not_found"
    SESSION_CONFLICT = "session_conflict"
    CANCELLED = "cancelled"
    OVERLOADED = "overloaded"
    PROCESSING_ERROR = "processing_error"


class PinactorsError(Exception):
    """A failure that is reported to the client, with its code. It can be pickled, so that a worker may raise
    it.

    `message` is for a person, `detail` adds information. `field` is the name of the field at fault, as it was
    sent, and `view` the photograph that it belongs to (`front`, `back`, `angled`); both empty if there is
    none. `retry_after` is in seconds. `status` overrides the HTTP status that the API derives from `code`.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        detail: str = "",
        *,
        field: str = "",
        view: str = "",
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(code, message, detail)
        self.code, self.message, self.detail = code, message, detail or message
        self.field, self.view = field, view
        self.retry_after, self.status = retry_after, status

    def __reduce__(self) -> Any:
        state = {
            "field": self.field,
            "view": self.view,
            "retry_after": self.retry_after,
            "status": self.status,
        }
        return type(self), (self.code, self.message, self.detail), state

    def __str__(self) -> str:
        return f"{self.message}: {self.detail}" if self.detail != self.message else self.message


def forget_frames(error: BaseException | None) -> None:
    """Drops the tracebacks of an expected error and of those that caused it. What keeps the error (an upload,
    a session) is mostly referred to by the frames through which it passed: together they would stay in memory
    until a garbage collection."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def invalid_value(field: str, detail: str) -> PinactorsError:
    """The error for an invalid value; `field` is its field's name as it was sent."""
    return PinactorsError(ErrorCode.INVALID_FORMAT, f"Invalid {field}", detail, field=field)


def invalid_field(field: str, why: str) -> PinactorsError:
    """`invalid_value` with the field's name in front of the reason."""
    return invalid_value(field, f"{field}: {why}")


def busy(detail: str, retry_after: float = SESSION_SECONDS) -> PinactorsError:
    """The refusal of an upload that may be accepted later."""
    return PinactorsError(ErrorCode.OVERLOADED, SERVER_BUSY, detail, status=503, retry_after=retry_after)


def limit_reached(
    detail: str, retry_after: float = SESSION_SECONDS, message: str = SERVER_BUSY
) -> PinactorsError:
    """The refusal of a request beyond what its key, or its stream, allows at a time."""
    return PinactorsError(ErrorCode.OVERLOADED, message, detail, status=429, retry_after=retry_after)


def storage_unavailable(
    detail: str = "The server could not store the upload; please send it again later",
) -> PinactorsError:
    """The error for an upload whose photographs, or what is computed from them, cannot be stored."""
    return PinactorsError(
        ErrorCode.OVERLOADED, "Storage unavailable", detail, retry_after=STORAGE_RETRY_SECONDS
    )


def key_reused(field: str) -> PinactorsError:
    """The refusal of an upload whose idempotency key, sent in `field`, belongs to other photographs."""
    message = f"{field} was already used for other images"
    return PinactorsError(ErrorCode.SESSION_CONFLICT, message, field=field, status=422)


def cancelled(detail: str = "") -> PinactorsError:
    """The error that ends a cancelled session."""
    return PinactorsError(ErrorCode.CANCELLED, "Analysis cancelled", detail)


def stream_not_found(status: int = 404) -> PinactorsError:
    """The error for a stream that does not exist, or is another key's; 410 if it can no longer be read."""
    return PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream not found", status=status)


def stream_expired() -> PinactorsError:
    """The error for a stream that could be read until some time ago."""
    detail = "Its packets have expired"
    return PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream gone", detail, status=410)


def stream_unavailable(detail: str = "", retry_after: float | None = None) -> PinactorsError:
    """The refusal of a request for a stream that may be repeated soon, here or at another master."""
    message = "Stream not available now"
    return PinactorsError(ErrorCode.OVERLOADED, message, detail, status=503, retry_after=retry_after)


def missing_front() -> PinactorsError:
    """The refusal of an upload without a front image."""
    return PinactorsError(ErrorCode.MISSING_IMAGE, MISSING_FRONT, field="front", view="front")
