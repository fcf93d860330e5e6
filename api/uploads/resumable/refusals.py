"""Errors of resumable uploads: what a request is refused for, and why an upload ends without an answer."""

from __future__ import annotations

from pinactors.protocol import ErrorCode, PinactorsError


class Mismatch(PinactorsError):
    """The error for an append whose offset is not the upload's."""

    def __init__(self, provided: int, expected: int) -> None:
        super().__init__(
            ErrorCode.INVALID_FORMAT,
            "Upload-Offset does not match",
            f"The upload continues at byte {expected}, not {provided}",
            field="Upload-Offset",
            status=409,
        )
        self.provided, self.expected = provided, expected


class Completed(PinactorsError):
    """The error for an append to a complete upload."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.INVALID_FORMAT, "Upload is complete", "Nothing can be added to a complete upload"
        )


class Withdrawn(PinactorsError):
    """The error of an upload that its client has cancelled."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CANCELLED, "Upload cancelled")


def not_found() -> PinactorsError:
    return PinactorsError(
        ErrorCode.NOT_FOUND,
        "Upload not found",
        "There is no such upload, or it was cancelled or expired",
        status=404,
    )


def inconsistent(detail: str) -> PinactorsError:
    return PinactorsError(
        ErrorCode.INVALID_FORMAT, "Inconsistent upload length", detail, field="Upload-Length"
    )
