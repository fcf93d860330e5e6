"""Reads a JPEG's segments without decoding pixels: its frame header, its scans, its restart markers.

No function here raises for damaged input: it returns None, or counts what can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pinactors.analysis.imaging.formats import Buffer


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """A JPEG's frame header (ITU T.81, B.2.2). `samples` is the number of samples per pixel over all
    components, 3.0 without chroma subsampling; `buffered` is True if a decoder must hold all coefficients
    before it can give the first row: in progressive files and in those with one scan per component."""

    process: int
    bits: int
    width: int
    height: int
    components: int
    samples: float
    buffered: bool


JPEG_LS = 0x37
"""The `process` of JPEG-LS (ITU T.87), whose marker 0xF7 continues T.81's row of frame headers."""


def jpeg_frame(data: bytes) -> JpegFrame | None:
    """The first frame header; None if there is none or it is incomplete."""
    frame: JpegFrame | None = None
    for marker, start, length in jpeg_segments(data):
        body = data[start : start + length]
        if _starts_frame(marker) and frame is None:
            frame = _frame(marker - 0xC0, body)
            if frame is None:
                return None
        elif marker == 0xDA and frame is not None:
            scanned = body[0] if body else 0
            return replace(frame, buffered=frame.buffered or scanned < frame.components)
    return frame


def _starts_frame(marker: int) -> bool:
    return (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xC0 + JPEG_LS


def _frame(process: int, body: bytes) -> JpegFrame | None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        return None
    factors = [(body[7 + 3 * i] >> 4, body[7 + 3 * i] & 15) for i in range(body[5])]
    most = max((h * v for h, v in factors), default=0)
    samples = sum(h * v for h, v in factors) / most if most else 0.0
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    return JpegFrame(process, body[0], width, height, body[5], samples, process in (2, 10))


_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
"""A JPEG marker. Fill bytes before it and bytes that are no marker are skipped, as decoders do."""


def jpeg_segments(data: Buffer) -> Iterator[tuple[int, int, int]]:
    """(marker, start of the body, length of the body) of each complete segment up to and including the header
    of the first scan."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None and found.end() + 2 <= len(data):
        at, marker = found.start(), data[found.end() - 1]
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xD9 or length < 2 or at + 2 + length > len(data):
            return
        yield marker, at + 4, length - 2
        if marker == 0xDA:
            return
        at += 2 + length


_RESTART = re.compile(rb"\xff[\xd0-\xd7]")


def jpeg_restarts_missing(data: bytes) -> bool:
    """Whether the first scan has fewer restart markers than its header announces (ITU T.81, B.2.4.4): the
    pixels between those that are missing are lost. False if the header announces none, and for scans of
    one of several components."""
    interval, across, down, components = 0, 0, 0, 0
    for marker, start, length in jpeg_segments(data):
        body = data[start : start + length]
        if marker == 0xDD and length >= 2:
            interval = int.from_bytes(body[:2], "big")
        elif _starts_frame(marker) and (frame := _frame(marker - 0xC0, body)) is not None:
            components = frame.components
            factors = body[7 : 6 + 3 * components : 3] if components > 1 else b"\x11"
            across = -(-frame.width // (8 * max(1, *(factor >> 4 for factor in factors))))
            down = -(-frame.height // (8 * max(1, *(factor & 15 for factor in factors))))
        elif marker == 0xDA and interval and body[:1] == bytes([components]):
            begin = start + length
            end = SCAN_END.search(data, begin)
            markers = _RESTART.findall(data, begin, end.start() if end else len(data))
            return len(markers) < -(-across * down // interval) - 1
    return False


SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""A marker that ends the coded data of a scan: any but restart markers, which occur inside (ITU T.81,
B.2.1)."""


@dataclass(frozen=True, slots=True)
class JpegScans:
    """The headers of a JPEG's scans (ITU T.81, B.2.3), without their markers, and where its end marker is;
    that is where the file ends if it has none."""

    headers: tuple[bytes, ...]
    end: int

    def are_all_of(self, frame: JpegFrame) -> bool:
        """Whether every coefficient of each component of `frame` is in a scan with its last bit (T.81,
        G.1.1.1), as files are made. A file whose last scans were lost does not have them all."""
        bits: dict[tuple[int, int], int] = {}
        for header in self.headers:
            count = header[0] if header else 0
            if len(header) < 4 + 2 * count:
                return False
            first, last, approximation = header[1 + 2 * count : 4 + 2 * count]
            for component in header[1 : 1 + 2 * count : 2]:
                for coefficient in range(first, min(last, 63) + 1):
                    bits[component, coefficient] = approximation & 15
        return len(bits) == 64 * frame.components and not any(bits.values())


def jpeg_scans(data: bytes, limit: int) -> JpegScans:
    """The scans of a JPEG; if they are more than `limit`, only `limit` + 1 of them."""
    headers: list[bytes] = []
    at = 2
    for marker, start, length in jpeg_segments(data):
        at = start + length
        if marker == 0xDA:
            headers.append(data[start:at])
    while 0 < len(headers) <= limit and (found := SCAN_END.search(data, at)) is not None:
        marker = data[found.end() - 1]
        if marker == 0xD9:
            return JpegScans(tuple(headers), found.start())
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        if marker == 0xDA:
            headers.append(data[found.end() + 2 : at])
    return JpegScans(tuple(headers), len(data))
