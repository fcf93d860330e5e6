"""Removes a photograph's metadata: position, serial numbers, names, previews.

The coded pixels, byte for byte, the colour profile and the orientation are kept. Everything else is removed:
EXIF with its maker notes, XMP, IPTC, comments, and data after the picture (the video of a motion photograph,
further pictures with their own EXIF).

Of a file whose metadata cannot be found, because its format is not accepted or it is too damaged to be
parsed, only the bytes that tell its format are kept. The decoder refuses these as it would refuse the file.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from pinactors.analysis.imaging.formats import (
    PNG_EXIF,
    PNG_ORIENTATION_TEXTS,
    PNG_SIGNATURE,
    PNG_XMP,
    START_BYTES,
    WEBP_KINDS,
    name_of,
    png_chunks,
    png_text,
    sniff,
    webp_chunks,
)
from pinactors.analysis.imaging.iso_boxes import FileData
from pinactors.analysis.imaging.jpeg_segments import SCAN_END, jpeg_segments
from pinactors.storage.iso_media import blanks

_ORIENTATION_TAG = 0x0112
_SHORT, _LONG = 3, 4
"""The types of a number that programs write the orientation with; EXIF has it as SHORT."""
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")
_EXIF_START = b"Exif\0\0"
_XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
_JFIF_BYTES = 14
"""Length of a JFIF segment's body without the preview that may follow."""

_START_OF_SCAN = 0xDA
"""The marker of a JPEG's scan, whose coded data follows (ITU T.81, B.2.3)."""

_PNG_KEPT = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP"}
_PNG_KEPT |= {b"sBIT", b"bKGD", b"pHYs", b"hIST", b"acTL", b"fcTL", b"fdAT", b"mDCV", b"cLLI", b"sPLT"}
_PNG_KEPT.add(b"CgBI")  # tells the decoder that it cannot read the pixels
_LONGEST_TEXT, _MAX_TEXTS = 1 << 16, 8
"""How many unpacked bytes of such a text are read, and how many such texts: a normal file has one."""

_WEBP_KEPT = WEBP_KINDS - {b"EXIF", b"XMP "}
_WEBP_PICTURES = (b"VP8 ", b"VP8L", b"ANMF")
_WEBP_EXIF, _WEBP_METADATA_FLAGS = 0x08, 0x0C
"""Masks for a WebP's flags: the bit for EXIF, and the bits for EXIF and XMP."""

_COPY_BYTES = 1 << 20

_SIGNATURE_BYTES = 16
"""Bytes that are kept of a file of an unknown format: most formats have a signature in them."""

_MAX_PARTS = 50_000
"""How many segments or chunks are read: a camera's photograph has in the order of a thousand at most."""


Piece = bytes | slice
"""New bytes, or the slice of the photograph that is kept as it was sent."""


def clean_file(path: Path) -> int:
    """Removes the metadata of the photograph in `path`, without reading the whole file into memory. Returns
    the new size in bytes. Raises `OSError` (disk full) and leaves the file unchanged then.
    """
    if not path.stat().st_size:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        pieces = _pieces(data)
        if pieces == [slice(0, len(data))]:
            return len(data)
        partial = path.with_name(f"{path.name}.cleaned")
        try:
            with partial.open("wb") as target:
                for piece in pieces:
                    _copy(data, piece, target)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path.stat().st_size


def _copy(data: mmap.mmap, piece: Piece, target: IO[bytes]) -> None:
    if isinstance(piece, bytes):
        target.write(piece)
        return
    for start in range(piece.start, piece.stop, _COPY_BYTES):
        target.write(data[start : min(start + _COPY_BYTES, piece.stop)])


def _pieces(data: FileData) -> list[Piece]:
    """The pieces of the file without its metadata."""
    kind = sniff(data[:START_BYTES])
    try:
        pieces = _CLEANERS[kind[1]](data) if kind else [_telling_start(data)]
    except (struct.error, IndexError, ValueError):
        pieces = [_telling_start(data)]
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, slice) and joined:
            last = joined[-1]
            if isinstance(last, slice) and last.stop == piece.start:
                joined[-1] = slice(last.start, piece.stop)
                continue
        joined.append(piece)
    return joined


def _telling_start(data: FileData) -> slice:
    """The shortest start of the file that tells the same format as the file itself; `_SIGNATURE_BYTES` if
    that is unknown."""
    start = bytes(data[:START_BYTES])
    told = sniff(start) or name_of(start)
    ends = range(len(start))
    least = 1 if told else min(_SIGNATURE_BYTES, len(start))
    return slice(
        0,
        bisect_left(
            ends, True, lo=least, key=lambda end: (sniff(start[:end]) or name_of(start[:end])) == told
        ),
    )


def _jpeg(data: FileData) -> list[Piece]:
    kept: list[Piece] = [slice(0, 2)]
    exif = xmp = 0
    at, marker = 2, 0
    for marker, start, length in islice(jpeg_segments(data), _MAX_PARTS):
        at = start + length
        body = data[start:at]
        if marker == 0xE1 and body.startswith(_EXIF_START):
            exif = exif or _tiff_orientation(body[len(_EXIF_START) :])
        elif marker == 0xE1 and body.startswith(_XMP_START):
            xmp = xmp or _xmp_orientation(body)
        if marker == 0xE0 and length > _JFIF_BYTES and body.startswith(b"JFIF\0"):
            kept.append(b"\xff\xe0" + struct.pack(">H", _JFIF_BYTES + 2) + body[:12] + bytes(2))
        elif _needed_by_jpeg(marker, body):
            kept.append(slice(start - 4, at))
    if marker != _START_OF_SCAN:
        raise ValueError("a JPEG without a scan has no pixels")
    kept += _scans(data, at)
    orientation = _orientation(exif, xmp)
    if orientation != 1:
        jfif = data[2:4] == b"\xff\xe0"
        kept.insert(2 if jfif else 1, _exif_segment(orientation))
    return kept


def _needed_by_jpeg(marker: int, body: bytes) -> bool:
    if marker == 0xFE:  # a comment
        return False
    if not 0xE0 <= marker <= 0xEF:
        return True
    starts = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
    return marker in starts and body.startswith(starts[marker])


def _scans(data: FileData, begin: int) -> Iterator[slice]:
    """The slices from the first scan's data, at `begin`, to the end of the picture, or of the file if the
    picture has no end marker. Segments between scans that are not needed are left out."""
    at = begin
    for _ in range(_MAX_PARTS):
        found = SCAN_END.search(data, at)
        if found is None:
            break
        marker, start = data[found.end() - 1], found.end()
        if marker == 0xD9:
            yield slice(begin, start)
            return
        at = start + int.from_bytes(data[start : start + 2], "big")
        if not _needed_by_jpeg(marker, data[start + 2 : at]):
            yield slice(begin, start - 2)
            begin = at
    else:
        raise ValueError("too many segments")
    yield slice(begin, len(data))


def _exif_segment(orientation: int) -> bytes:
    body = _EXIF_START + _tiff(orientation)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _tiff(orientation: int) -> bytes:
    """EXIF data with the orientation as its only entry."""
    entry = struct.pack(">HHIHH", _ORIENTATION_TAG, _SHORT, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)


def _orientation(exif: int, xmp: int) -> int:
    """The orientation, 1 (upright) to 8, by those of EXIF and XMP, each 0 if there is none. EXIF precedes
    XMP, as in decoders: programs that turn a picture upright set EXIF's to 1 and may leave XMP unchanged."""
    return exif or xmp or 1


def _xmp_orientation(text: bytes) -> int:
    found = _XMP_ORIENTATION.search(text)
    return int(found[1]) if found else 0


def _tiff_orientation(tiff: bytes) -> int:
    """The orientation, 1 to 8, in EXIF data: 1 if it is out of range, 0 if there is none."""
    tiff = tiff.removeprefix(_EXIF_START)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for number in range(count):
            entry = directory + 2 + 12 * number
            tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, entry)
            if tag == _ORIENTATION_TAG and kind in (_SHORT, _LONG) and values == 1:
                (value,) = struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'I'}", tiff, entry + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 0


def _png(data: FileData) -> list[Piece]:
    kept: list[Piece] = [slice(0, len(PNG_SIGNATURE))]
    exif = xmp = 0
    kind, end, texts = b"", len(PNG_SIGNATURE), 0
    chunks = png_chunks(data)
    for kind, start, end in islice(chunks, _MAX_PARTS):
        if kind == b"eXIf":
            exif = exif or _tiff_orientation(data[start + 8 : end - 4])
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and data[start + 8 : end].startswith(PNG_ORIENTATION_TEXTS):
            texts += 1
            if texts <= _MAX_TEXTS:
                of_exif, of_xmp = _text_orientations(kind, data[start + 8 : end - 4])
                exif, xmp = exif or of_exif, xmp or of_xmp
        if kind in _PNG_KEPT:
            kept.append(slice(start, end))
    if next(chunks, None) is not None:
        raise ValueError("too many chunks")
    if kind != b"IEND" and data[end + 4 : end + 8] in (b"IDAT", b"IEND"):
        kept.append(slice(end, len(data)))  # the truncated last chunk, which may hold pixels
    orientation = _orientation(exif, xmp)
    if orientation != 1:
        kept.insert(2, _png_chunk(b"eXIf", _tiff(orientation)))
    return kept


def _text_orientations(kind: bytes, body: bytes) -> tuple[int, int]:
    """The orientations by EXIF (in hexadecimal digits) and XMP in a PNG's text, 0 if there is none."""
    packed, text = png_text(kind, body)
    try:
        text = zlib.decompressobj().decompress(text, _LONGEST_TEXT) if packed else text[:_LONGEST_TEXT]
        if body.startswith(PNG_XMP):
            return 0, _xmp_orientation(text)
        if body.startswith(PNG_EXIF):  # a line break, a name and a length precede the lines of digits
            return _tiff_orientation(bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))), 0
    except (zlib.error, ValueError):
        pass
    return 0, 0


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _webp(data: FileData) -> list[Piece]:
    kept: list[Piece] = []
    orientation = 1
    extended, has_pixels = 0, False
    for kind, start, end in islice(webp_chunks(data), _MAX_PARTS):  # whatever size the header names
        if kind == b"EXIF" and extended and data[extended] & _WEBP_EXIF:  # else decoders do not read it
            orientation = _tiff_orientation(data[start:end]) or 1
        elif kind == b"VP8X" and not kept:
            extended = start
        if kind in _WEBP_KEPT:
            kept.append(slice(start - 8, min(end + (end & 1), len(data))))
            if end & 1 and end == len(data):
                kept.append(bytes(1))  # the padding, which is missing
        has_pixels = has_pixels or kind in _WEBP_PICTURES
    if not has_pixels:
        raise ValueError("cut off")
    if extended:
        is_rotated = orientation != 1
        flags = data[extended] & ~_WEBP_METADATA_FLAGS | (_WEBP_EXIF if is_rotated else 0)
        if flags != data[extended]:
            kept[0:1] = [slice(extended - 8, extended), bytes([flags]), slice(extended + 1, extended + 10)]
        if is_rotated:
            exif = _tiff(orientation)
            kept.append(b"EXIF" + struct.pack("<I", len(exif)) + exif)
    length = sum(len(piece) if isinstance(piece, bytes) else piece.stop - piece.start for piece in kept)
    if data[4:8] == struct.pack("<I", length + 4):
        return [slice(0, 12), *kept]
    return [slice(0, 4), struct.pack("<I", length + 4), slice(8, 12), *kept]


def _iso(data: FileData) -> list[Piece]:
    kept: list[Piece] = []
    at = 0
    for start, blank in blanks(data):
        kept += [slice(at, start), blank]
        at = start + len(blank)
    return [*kept, slice(at, len(data))]


_CLEANERS: dict[str, Callable[[FileData], list[Piece]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "HEIF": _iso,
    "AVIF": _iso,
}
