"""Reads and writes the header fields of tus 1.0 (https://tus.io/protocols/resumable-upload). Pure."""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import re
from dataclasses import dataclass

from pinactors.api.uploads.resumable.draft_headers import HeaderFields
from pinactors.protocol import ErrorCode, PinactorsError, View, none_if_missing

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
ALGORITHMS = ("sha256", "sha1", "md5")
OFFSET_TYPE = "application/offset+octet-stream"

METADATA_LIMIT = 4096
"""Most characters of `Upload-Metadata`."""

_INTEGER = re.compile(r"[0-9]{1,15}")
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,64}")
_USED_KEYS = {"sessionId", "view", "complete", "stream", "webhook"}


class ChecksumMismatch(PinactorsError):
    """A request's body does not have the checksum that the client sent; none of its bytes are kept."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.INVALID_FORMAT,
            "Checksum mismatch",
            "The content does not match Upload-Checksum",
            field="Upload-Checksum",
            status=460,
        )


@dataclass(frozen=True, slots=True)
class PhotographMetadata:
    """The photograph's description in a creating request's `Upload-Metadata`.

    `last` is True if no further photograph follows. `stream` is the stream id of the session that the
    photograph belongs to, None if the client names none; `webhook` is the URL to which the session's events
    are sent.
    """

    session_id: str | None
    view: View
    last: bool
    stream: str | None
    webhook: str | None = None


def check_version(headers: HeaderFields) -> None:
    """Raises `PinactorsError` (412) unless the request has this version."""
    if headers.get("Tus-Resumable") != VERSION:
        raise _refused(f"Tus-Resumable must be {VERSION}", "Tus-Resumable", status=412)


def photograph(metadata: str) -> PhotographMetadata:
    """Reads `_USED_KEYS` of `Upload-Metadata`; ignores other keys, whatever their values, and these with one
    of `MISSING_VALUES`. `complete` without a value means true.

    Raises `PinactorsError` (`invalid_format`).
    """
    values = _metadata(metadata)
    text = none_if_missing(values.get("view")) or "front"
    if text not in {str(view) for view in View}:
        views = ", ".join(str(view) for view in View)
        raise _refused(f"view in Upload-Metadata must be one of {views}", "Upload-Metadata")
    last = values.get("complete", "0").strip().lower()
    if none_if_missing(last) and last not in ("true", "1", "0"):
        raise _refused("complete in Upload-Metadata must be true or false", "Upload-Metadata")
    return PhotographMetadata(
        none_if_missing(values.get("sessionId")),
        View(text),
        last in ("", "true", "1"),
        none_if_missing(values.get("stream")),
        none_if_missing(values.get("webhook")),
    )


def length(headers: HeaderFields) -> int:
    """`Upload-Length`, which is required. Raises `PinactorsError` (400), also for a piece that is to be
    joined with others by the extension "concatenation", which is not supported."""
    if headers.get("Upload-Concat") is not None:
        raise _refused("Upload-Concat is not supported: send each photograph as one upload", "Upload-Concat")
    return _integer(headers, "Upload-Length")


def offset(headers: HeaderFields, content_type: str) -> int:
    """The offset of an append. Raises `PinactorsError` (400, 415)."""
    if content_type.partition(";")[0].strip().lower() != OFFSET_TYPE:
        raise _refused(f"Content-Type must be {OFFSET_TYPE}", "Content-Type", status=415)
    return _integer(headers, "Upload-Offset")


class Checksum:
    """Computes the checksum of one request's content piece by piece and compares it at the end."""

    def __init__(self, algorithm: str, expected: bytes) -> None:
        self._digest = hashlib.new(algorithm, usedforsecurity=False)
        self._expected = expected

    def feed(self, content: bytes) -> None:
        self._digest.update(content)

    def check(self) -> None:
        """Raises `ChecksumMismatch`."""
        if self._digest.digest() != self._expected:
            raise ChecksumMismatch


def checksum(headers: HeaderFields) -> Checksum | None:
    """The checksum in `Upload-Checksum`, None without one. Raises `PinactorsError` (400)."""
    text = headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise _refused(f"The algorithm must be one of {', '.join(ALGORITHMS)}", "Upload-Checksum")
    return Checksum(algorithm, _decoded(encoded, "Upload-Checksum"))


def expires(at: float) -> dict[str, str]:
    """`Upload-Expires`: when an unfinished upload is removed; `at` is in seconds since 1970."""
    return {"Upload-Expires": email.utils.formatdate(at, usegmt=True)}


def signature(status: int) -> dict[str, str]:
    """Header fields of every response, including errors: the tus version."""
    return {"Tus-Resumable": VERSION} | ({"Tus-Version": VERSION} if status == 412 else {})


def capabilities(max_bytes: int) -> dict[str, str]:
    """Header fields of answers to `OPTIONS`."""
    return {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        "Tus-Max-Size": str(max_bytes),
    }


def _metadata(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    if len(text) > METADATA_LIMIT:
        raise _refused(f"Upload-Metadata has more than {METADATA_LIMIT} characters", "Upload-Metadata")
    for pair in filter(None, (pair.strip() for pair in text.split(","))):
        key, _, encoded = pair.partition(" ")
        if not _KEY.fullmatch(key) or key in values:
            raise _refused(f"Upload-Metadata has an unusable key {key[:64]!r}", "Upload-Metadata")
        if key not in _USED_KEYS:
            continue  # such as a file name, which comes in any encoding, and from some clients not as base64
        try:
            values[key] = _decoded(encoded, "Upload-Metadata").decode()
        except UnicodeDecodeError:
            raise _refused(f"{key} in Upload-Metadata is not valid UTF-8", "Upload-Metadata") from None
    return values


def _decoded(text: str, field: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise _refused(f"{field} has a value that is not base64", field) from None


def _integer(headers: HeaderFields, field: str) -> int:
    found = (headers.get(field) or "").strip()
    if not _INTEGER.fullmatch(found):
        raise _refused(f"{field} must be a number of bytes", field)
    return int(found)


def _refused(detail: str, field: str, *, status: int | None = None) -> PinactorsError:
    return PinactorsError(ErrorCode.INVALID_FORMAT, "Invalid tus request", detail, field=field, status=status)
