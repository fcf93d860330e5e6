"""The header fields of resumable uploads (draft-ietf-httpbis-resumable-upload), read and written. Pure.

The draft's versions differ in names and rules; the interop version tells which one a client uses:

| interop version | draft | sent by |
|---|---|---|
| 3 | -01 | iOS 17: `Upload-Incomplete` instead of `Upload-Complete` |
| 5 | -03 | iOS 18.0, tus-js-client's `ietf-draft-03` |
| 6 | -04, -05 | iOS 18.1, tus-js-client's `ietf-draft-05`: `application/partial-upload`, `Upload-Limit` |
| 8 | -08 and later | iOS 26 |

A client that names no interop version, or another one, is answered by the rules of version 8 but receives no
informational response (section "Draft Version Identification" forbids it if the versions do not match).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pinactors.api.uploads.resumable.refusals import inconsistent
from pinactors.protocol import ErrorCode, PinactorsError

VERSION_FIELD = "Upload-Draft-Interop-Version"
SUPPORTED_VERSIONS = (3, 5, 6, 8)
NEWEST_VERSION = 8

PARTIAL_TYPE = "application/partial-upload"
PROBLEM_TYPE = "application/problem+json"
PROBLEMS = "https://iana.org/assignments/http-problem-types#"
MISMATCH, COMPLETED, INCONSISTENT = (
    f"{PROBLEMS}mismatching-upload-offset",
    f"{PROBLEMS}completed-upload",
    f"{PROBLEMS}inconsistent-upload-length",
)

_INTEGER = re.compile(r"[0-9]{1,15}")
"""A non-negative Integer of RFC 9651, 3.3.1."""

_ITEM = re.compile(
    r"""([^;"]*)(?:; *[a-z*][a-z0-9_.*-]*(?:=(?:[^\s;,"]+|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"))?)*"""
)
"""An Item (RFC 9651, 3.3) that is no String: its value, then parameters, which mean nothing here."""


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """A request's header fields about its upload; None for a field that is missing or has to be ignored.

    `version` decides which rules apply. `supported_version` is the interop version that the client named,
    None if it is not one of `SUPPORTED_VERSIONS`. `length` is the whole upload's, from `Upload-Length`;
    `content` is the length of this request's body."""

    version: int
    supported_version: int | None
    complete: bool | None
    offset: int | None
    length: int | None
    content: int | None

    def can_be_informed(self, allowed: bool) -> bool:
        """Whether informational responses may be sent: the setting `informational_responses` is `allowed`,
        and the client named one of `SUPPORTED_VERSIONS`."""
        return allowed and self.supported_version is not None

    def resumes(self, can_inform: bool) -> bool:
        """Whether a creating request begins a resumable upload.

        A complete upload whose client cannot be informed of the URL is a plain upload.
        """
        return self.complete is False or (self.complete is True and can_inform)

    @property
    def completes(self) -> bool:
        """Whether an append's body is the upload's rest. Up to version 5 that is the default."""
        return self.complete if self.complete is not None else self.version <= 5

    def whole_length(self, offset: int) -> int | None:
        """The upload's length that this request, at `offset`, states or implies; None if unknown.

        Raises `PinactorsError` if the stated and the implied length differ.
        """
        implied = offset + self.content if self.completes and self.content is not None else None
        if implied is not None and self.length is not None and implied != self.length:
            raise inconsistent(f"Upload-Length is {self.length}, but the upload ends at {implied}")
        return self.length if self.length is not None else implied


class HeaderFields(Protocol):
    """A request's header fields, by names in any letter case; Quart's `Headers` fits."""

    def get(self, key: str, /) -> str | None: ...

    def __contains__(self, key: str, /) -> bool: ...


def read(headers: HeaderFields) -> UploadRequest:
    named = _integer(headers.get(VERSION_FIELD))
    supported_version = named if named in SUPPORTED_VERSIONS else None
    version = named if named is not None and named in (*SUPPORTED_VERSIONS, 4, 7) else NEWEST_VERSION
    if version == 3:
        incomplete = _boolean(headers.get("Upload-Incomplete"))
        complete = None if incomplete is None else not incomplete
    else:
        complete = _boolean(headers.get("Upload-Complete"))
    return UploadRequest(
        version,
        supported_version,
        complete,
        _integer(headers.get("Upload-Offset")),
        _integer(headers.get("Upload-Length")),
        _integer(headers.get("Content-Length")),
    )


def check_append(upload_request: UploadRequest, content_type: str) -> int:
    """The offset that an append names. Raises `PinactorsError` (400, 415)."""
    if upload_request.version >= 6 and content_type.partition(";")[0].strip().lower() != PARTIAL_TYPE:
        raise _refused(f"Content-Type must be {PARTIAL_TYPE}", "Content-Type", status=415)
    if upload_request.offset is None:
        raise _refused("Upload-Offset must be a number of bytes", "Upload-Offset")
    return upload_request.offset


def check_question(upload_request: UploadRequest, headers: HeaderFields) -> None:
    """Checks a request for the offset or a cancellation. Raises `PinactorsError` (400) if, up to version 5,
    it names an offset or completeness."""
    for field in ("Upload-Offset", "Upload-Complete", "Upload-Incomplete"):
        if upload_request.version <= 5 and field in headers:
            raise _refused(f"{field} must not be sent with this request", field)


def state(
    upload_request: UploadRequest,
    *,
    complete: bool | None = None,
    offset: int | None = None,
    length: int | None = None,
) -> dict[str, str]:
    """Header fields with the state of an upload."""
    fields = {}
    if offset is not None:
        fields["Upload-Offset"] = str(offset)
    if complete is not None and upload_request.version == 3:
        fields["Upload-Incomplete"] = "?0" if complete else "?1"
    elif complete is not None:
        fields["Upload-Complete"] = "?1" if complete else "?0"
    if length is not None and upload_request.version >= 6:
        fields["Upload-Length"] = str(length)
    return fields


def limits(max_bytes: int, seconds: float | None = None) -> dict[str, str]:
    """`Upload-Limit`: the largest upload in bytes, and the seconds for which an upload is kept without new
    bytes."""
    age = "" if seconds is None else f", max-age={max(0, int(seconds))}"
    return {"Upload-Limit": f"max-size={max_bytes}{age}"}


def created(upload_request: UploadRequest, location: str, limit: Mapping[str, str]) -> dict[str, str]:
    """Header fields of the first informational response: the upload's URL."""
    fields = {VERSION_FIELD: str(upload_request.version), "Location": location}
    return {**fields, **limit} if upload_request.version >= 6 else fields


def progress(upload_request: UploadRequest, offset: int) -> dict[str, str] | None:
    """Header fields of later informational responses: the offset. None in a version without such
    responses."""
    if upload_request.version < 5:
        return None
    return {VERSION_FIELD: str(upload_request.version), "Upload-Offset": str(offset)}


def accepted_status(upload_request: UploadRequest) -> int:
    """Status of the answer to an append that does not complete the upload: 201 up to version 5; later
    versions allow any 2xx."""
    return 201 if upload_request.version <= 5 else 204


def _refused(detail: str, field: str, *, status: int | None = None) -> PinactorsError:
    return PinactorsError(
        ErrorCode.INVALID_FORMAT, "Invalid resumable upload", detail, field=field, status=status
    )


def _boolean(text: str | None) -> bool | None:
    return {"?0": False, "?1": True}.get(_bare_item(text))


def _integer(text: str | None) -> int | None:
    found = _bare_item(text)
    return int(found) if _INTEGER.fullmatch(found) else None


def _bare_item(text: str | None) -> str:
    """The value of an Item without its parameters; empty if the field is missing or malformed."""
    found = _ITEM.fullmatch((text or "").strip())
    return found[1] if found else ""
