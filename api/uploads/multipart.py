"""Parser of multipart uploads that works while the body arrives. `python-multipart` separates the parts."""

from __future__ import annotations

import binascii
import logging
import re
import weakref
from functools import partial

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from werkzeug.http import parse_options_header

from pinactors.api.uploads.base64_stream import Base64Decoder
from pinactors.api.uploads.fields import (
    REGION_FIELDS,
    REGION_LIMIT,
    SENT_AS,
    SESSION_FIELD,
    TEXT_FIELDS,
    WEBHOOK_FIELD,
    malformed,
    view_of,
)
from pinactors.api.uploads.json_escapes import JsonTextDecoder, unescaped
from pinactors.api.uploads.received import OtherField, Parser
from pinactors.protocol import SESSION_ID_LIMIT
from pinactors.storage.images import ImageTarget
from pinactors.webhooks.addresses import URL_LIMIT

TEXT_LIMITS = {
    SESSION_FIELD: SESSION_ID_LIMIT,
    WEBHOOK_FIELD: URL_LIMIT,
    **dict.fromkeys(REGION_FIELDS, REGION_LIMIT),
}
"""Most characters of each text field other than the photographs."""

HEADER_BYTES = 16 * 1024
"""Most bytes of one header of a part: a file name may be long."""

MAX_HEADERS = 16
"""Most headers of one part."""

PREAMBLE_BYTES = 64 * 1024
"""Most bytes before the first boundary."""

BOUNDARY_LIMIT = 200
"""Most characters of a boundary; RFC 2046 allows 70."""

_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^";,]*))', re.IGNORECASE)
"""The boundary of a content type. It should be quoted if it has characters such as `=`, `/` or `:` (RFC 2046,
5.1.1), but some clients do not quote it."""

_NAME_BEHIND = re.compile(r';\s*name\s*=\s*"?([A-Za-z_]+)"?\s*(?:;|$)', re.IGNORECASE)
"""Finds a part's name behind a file name whose last byte is a backslash (Shift-JIS has such characters): a
header parser takes that backslash as an escape of the closing quotation mark."""

_BYTES_TYPE = re.compile(rb"\s*(?:image/|application/octet-stream)", re.IGNORECASE)
"""Types of a part that carries a photograph's bytes."""

# The parser logs each error besides raising it. The sender receives the error; clients must not fill the log.
logging.getLogger("python_multipart.multipart").setLevel(logging.ERROR)


def boundary_of(content_type: str) -> str | None:
    """The boundary in the value of a Content-Type header; None if there is none."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        return None
    quoted, plain = found.groups()
    return plain.strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted)


def checked_boundary(boundary: str | None) -> str:
    """Returns `boundary`. Raises `PinactorsError` (`invalid_format`) if it is missing, too long or not
    ASCII."""
    if not boundary or len(boundary) > BOUNDARY_LIMIT or not boundary.isascii():
        raise malformed("its Content-Type has no usable boundary")
    return boundary


class QuotedPrintableDecoder:
    """Decodes one quoted-printable text (RFC 2045, 6.7) that arrives in pieces of any size."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        """Returns the decoded bytes that `data` completes."""
        text = self._pending + data
        cut = text.find(b"=", max(0, len(text) - 2))  # an escape has three bytes
        text, self._pending = (text, b"") if cut < 0 else (text[:cut], text[cut:])
        return binascii.a2b_qp(text)

    def finish(self) -> bytes:
        """Returns the bytes not returned yet."""
        return binascii.a2b_qp(self._pending)


class MultipartUpload(Parser):
    """Parser of a multipart upload. `boundary` is the content type's, from `checked_boundary`."""

    def __init__(self, store: ImageTarget | None, boundary: str) -> None:
        super().__init__(store)
        self._marker = b"--" + boundary.encode()
        self._preamble: bytes | None = b""
        this = weakref.proxy(self)  # with bound methods the two parsers would refer to each other
        self._parser = MultipartParser(
            boundary.encode(),
            {
                "on_header_field": partial(MultipartUpload._header_name, this),
                "on_header_value": partial(MultipartUpload._header_value, this),
                "on_header_begin": partial(MultipartUpload._header_begins, this),
                "on_headers_finished": partial(MultipartUpload._part_begins, this),
                "on_part_data": partial(MultipartUpload._part_continues, this),
                "on_part_end": partial(MultipartUpload._part_ends, this),
                "on_end": partial(MultipartUpload._body_ends, this),
            },
            max_header_count=MAX_HEADERS,
            max_header_size=HEADER_BYTES,
        )
        self._headers: list[tuple[bytearray, bytearray]] = []
        self._text: bytearray | None = None
        self._text_field = ""
        self._decoder: Base64Decoder | QuotedPrintableDecoder | JsonTextDecoder | None = None
        self._ended = False

    def _parse(self, data: bytes) -> None:
        if self._preamble is not None:
            data = self._behind_preamble(self._preamble + data)
        if data and not self._ended:  # ignore what follows the last boundary
            try:
                self._parser.write(data)
            except FormParserError as error:
                if "exceeded" in str(error):
                    raise malformed("a part's headers are too long") from None
                raise malformed("a part or its headers are not well-formed") from None

    def finish(self) -> None:
        if not self._ended:
            raise malformed("it ends before its closing boundary")

    def _behind_preamble(self, data: bytes) -> bytes:
        """Returns `data` from the first boundary on, which must begin a line: the parser accepts no preamble,
        and no white space behind the first boundary (RFC 2046, 5.1.1). Returns nothing, and keeps `data`, if
        that line's end has not arrived."""
        at = data.find(self._marker)
        while at > 0 and data[at - 1 : at] != b"\n":
            at = data.find(self._marker, at + 1)
        behind = data[at + len(self._marker) :].lstrip(b" \t") if at >= 0 else b""
        if not behind:
            if len(data) > PREAMBLE_BYTES:
                raise malformed(f"its first boundary does not come within {PREAMBLE_BYTES} bytes")
            self._preamble = data
            return b""
        self._preamble = None
        return self._marker + behind

    def _header_begins(self) -> None:
        self._headers.append((bytearray(), bytearray()))

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._headers[-1][0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._headers[-1][1].extend(data[start:end])

    def _part_begins(self) -> None:
        headers = {bytes(name).lower(): bytes(value) for name, value in self._headers}
        self._headers.clear()
        # Latin-1 decodes any bytes; file names, in whatever encoding, are not used, and our field names are
        # ASCII.
        disposition = headers.get(b"content-disposition", b"").decode("latin-1")
        if not disposition:
            raise malformed("a part has no Content-Disposition")
        name = parse_options_header(disposition)[1].get("name", "")
        if not name and (behind := _NAME_BEHIND.search(disposition)):
            name = behind[1]
        is_text = "filename" not in disposition.lower()
        view = view_of(name)
        self._fields.begin()
        if name != SESSION_FIELD and name not in REGION_FIELDS:
            self._events.append(OtherField())
        coding = headers.get(b"content-transfer-encoding", b"").strip().lower()
        self._decoder = QuotedPrintableDecoder() if coding == b"quoted-printable" else None
        if name in TEXT_LIMITS:  # also as a file, of JavaScript's Blob
            self._text, self._text_field = bytearray(), name
            if coding == b"base64":
                self._decoder = Base64Decoder(name)
        elif view is not None:
            encoded = True if coding == b"base64" else _is_base64(name, headers, is_text=is_text)
            if encoded is not False and coding not in (b"base64", b"quoted-printable"):
                self._decoder = JsonTextDecoder()
            sent_as = headers.get(SENT_AS.lower().encode(), b"")
            field = str(view) if sent_as == view.encode() else name
            self._begin_photograph(field, view, encoded=encoded)

    def _part_continues(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        self._put(piece if self._decoder is None else self._decoder.feed(piece))

    def _put(self, data: bytes) -> None:
        """Adds decoded bytes to the part's photograph or text."""
        if self._receiving is not None:
            self._receiving.write(data)
        elif self._text is not None:
            self._text += data
            name = self._text_field
            if len(self._text) > TEXT_LIMITS[name]:
                raise malformed(f"{name} is longer than {TEXT_LIMITS[name]} characters", name)

    def _part_ends(self) -> None:
        if self._decoder is not None:
            self._put(self._decoder.finish())
        if self._receiving is not None:
            self._end_photograph()
        elif self._text is not None:
            text, self._text = _unquoted(bytes(self._text)), None
            try:
                value = text.decode("utf-8" if self._text_field == SESSION_FIELD else "latin-1")
            except UnicodeDecodeError:
                raise malformed(f"{SESSION_FIELD} is not valid UTF-8", SESSION_FIELD) from None
            self._end_text(self._text_field, value)

    def _body_ends(self) -> None:
        self._ended = True


def _is_base64(name: str, headers: dict[bytes, bytes], *, is_text: bool) -> bool | None:
    """Whether the photograph in the part `name` is base64 text, which no header says; None if its first bytes
    have to decide."""
    # A file with a text field's name carries the photograph's bytes. OkHttp names no file for some bodies;
    # then the part's type says that it may be one.
    if name not in TEXT_FIELDS or not is_text:
        return False
    return None if _BYTES_TYPE.match(headers.get(b"content-type", b"")) else True


def _unquoted(text: bytes) -> bytes:
    """The content of `text` if it is a JSON text: some clients encode every part as JSON (Retrofit)."""
    return unescaped(text[1:-1]) if len(text) > 1 and text[:1] == text[-1:] == b'"' else text
