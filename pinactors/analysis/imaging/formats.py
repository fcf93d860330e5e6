"""Reads a photograph's format, its coding and its metadata chunks without decoding pixels, and removes chunks
that a decoder does not need.

No function here raises for damaged input: it returns None for what cannot be read, or leaves it unchanged.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterator
from itertools import islice

ACCEPTED_FORMATS = "JPEG, PNG, WebP, HEIC or AVIF"
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif"),
    *(".jfif", ".jpe", ".jif", ".mpo"),  # JPEG: of browsers on Windows, and of cameras that take two at once
    ".hif",  # HEIC: of cameras by Sony, Canon and Fujifilm
)
"""Suffixes of their files, in lower case."""

START_BYTES = 8192
"""Number of bytes at a file's start from which its format is determined."""

Buffer = bytes | memoryview | mmap.mmap

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
AV1_BRANDS = {b"avif", b"avis"}
_ANY_BRANDS = {b"mif1", b"msf1", b"miaf"}
_BRANDS_READ = 256

_OTHER_HEIF_BRANDS = {b"jpeg", b"jpgs", b"avci", b"avcs", b"vvic", b"vvis", b"j2ki", b"j2is"}
_OTHER_CODING = re.compile(rb"infe.{8}(?:..)?(?:jpeg|avc1|vvc1|j2k1|unci)", re.DOTALL)
"""An item of a HEIF file that is neither HEVC nor AV1 (ISO 14496-12, 8.11.6; ISO 23008-12)."""

_RAW = (b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"II\x1a\0\0\0HEAP", b"\0MRM", b"FOVb", b"FUJIFILMCCD-RAW")
_AS_TEXT = (
    *(b"\xc3\xbf\xc3\x98\xc3\xbf", b"\xc2\x89PNG", b"\xef\xbf\xbd\xef\xbf\xbd", b"\xef\xbf\xbdPNG"),
    *(b"\x89PNG\n\x1a\n", b"\x89PNG\r\n\x1a\r\n"),
)
"""Starts of JPEG and PNG files that a program has read or written as text."""

_OTHERS = (
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    *((start, "a TIFF or raw picture") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((start, "a raw picture") for start in _RAW),
    (b"II\xbc\x01", "a JPEG XR picture"),
    (b"\0\0\1\0", "an icon"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a compressed file"),
    (b"Rar!", "a RAR archive"),
    (b"\x1aE\xdf\xa3", "a video"),
    *((start, "a picture that a program has changed as if it were text") for start in _AS_TEXT),
    *((start, "base64 text") for start in (b"data:image/", b"/9j/", b"iVBORw0KGgo", b"UklGR")),
)


def sniff(data: bytes) -> tuple[str, str] | None:
    """(media type, Pillow's format name) by the first bytes; None if the format is not accepted."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", "JPEG"
    if data.startswith(PNG_SIGNATURE):
        return "image/png", "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", "WEBP"
    if data[4:8] == b"ftyp":
        brands = _brands(data)
        if brands & _HEVC_BRANDS:
            return "image/heic", "HEIF"
        if brands & AV1_BRANDS:
            return "image/avif", "AVIF"
        if brands & _ANY_BRANDS:
            start = data[:START_BYTES]
            if b"hvc1" not in start and b"av01" in start:
                return "image/avif", "AVIF"
            if b"hvc1" in start or not _OTHER_CODING.search(start):
                return "image/heif", "HEIF"
    return None


def _brands(data: bytes) -> set[bytes]:
    length = min(max(int.from_bytes(data[:4], "big"), 16), _BRANDS_READ)
    return {data[8:12], *(data[at : at + 4] for at in range(16, length, 4))}


def name_of(data: bytes) -> str:
    """A description, for the user, of a file that is in no accepted format; empty if its format is
    unknown."""
    if data[4:8] == b"ftyp":
        if _brands(data) & (_ANY_BRANDS | _OTHER_HEIF_BRANDS):
            return "a HEIF picture whose coding is neither HEVC nor AV1"
        return "a raw picture" if data[8:12] == b"crx " else "a video"
    if data[4:8] in (b"moov", b"mdat", b"wide", b"pnot"):
        return "a video"
    if data[:4] == b"RIFF":
        return "a video or a sound" if data[8:12] in (b"AVI ", b"WAVE") else ""
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if b"<svg" in start:
        return "an SVG drawing"
    return next((name for signature, name in _OTHERS if data.startswith(signature)), "")


_LARGEST_PNG_PART = 1 << 16
"""Bytes of the largest profile, EXIF or text chunk, compressed and decompressed, that a decoder receives."""

PNG_ORIENTATION_TEXTS = PNG_EXIF, PNG_XMP = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0"
"""Keywords of texts that may hold the orientation: EXIF as it was stored before the `eXIf` chunk, and XMP."""

_PNG_ORIENTED = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""Types of chunks that may hold the orientation."""

_MAX_ORIENTATION_CHUNKS = 8
"""Largest number of such chunks that a decoder receives; a normal file has one."""

_PNG_TRANSPARENT = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}
"""Valid lengths in bytes of a `tRNS` chunk by colour type: a transparent colour, or the transparencies of the
palette (PNG 3, 11.3.2.1)."""


def png_chunks(data: Buffer) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of each complete chunk in order, from its length field to its checksum."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return
        kind = bytes(data[at + 4 : at + 8])
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def png_text(kind: bytes, body: bytes) -> tuple[bool, bytes]:
    """Whether the text of a `tEXt`, `zTXt` or `iTXt` chunk is compressed, and the text (PNG 3, 11.3.3)."""
    rest = body.partition(b"\0")[2]  # after the keyword
    match kind:
        case b"iTXt":  # flag, method, language and translated keyword precede the text
            return rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        case b"zTXt":  # the compression method precedes the text
            return True, rest[1:]
    return False, rest


def pixels_of_png(data: bytes) -> bytes:
    """The PNG without ancillary chunks, except undamaged ones that a decoder needs to interpret the pixels
    (transparency, profile, EXIF); EXIF and texts precede the pixels then. A decoder would fail on a damaged
    chunk, or decompress an endless one, although all pixels are there. Returns `data` itself if nothing is
    changed."""
    view = memoryview(data)
    colour_type = data[25] if len(data) > 25 else 0
    kept = [view[: len(PNG_SIGNATURE)]]
    late: list[memoryview] = []  # texts and EXIF after the first pixels, where not every decoder finds them
    unchanged = True
    end, pixels_at, oriented = len(PNG_SIGNATURE), 0, 0
    for kind, start, end in png_chunks(view):
        may_orient = kind in _PNG_ORIENTED
        surplus = may_orient and oriented == _MAX_ORIENTATION_CHUNKS
        if surplus or not _to_decode(kind, view[start:end], colour_type):
            unchanged = False
            continue
        oriented += may_orient
        if may_orient and pixels_at:
            late.append(view[start:end])
        else:
            if kind == b"IDAT" and not pixels_at:
                pixels_at = len(kept)
            kept.append(view[start:end])
    if unchanged and not late:
        return data
    return b"".join([*kept[:pixels_at], *late, *kept[pixels_at:], view[end:]])


def _to_decode(kind: bytes, chunk: memoryview, colour_type: int) -> bool:
    if not kind[:1].islower():
        return True  # a critical chunk: if it is damaged, so is the picture
    body = bytes(chunk[8:-4])
    if len(body) > _LARGEST_PNG_PART or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    match kind:
        case b"eXIf":
            return True
        case b"tRNS":
            return len(body) in _PNG_TRANSPARENT.get(colour_type, ())
        case b"iCCP" | b"zTXt" if body.partition(b"\0")[2][:1] != b"\0":
            return False  # packed by a method that does not exist (PNG 3, 11.3.2.3)
        case b"iCCP":
            return _unpacks(body.partition(b"\0")[2][1:])
        case b"tEXt" | b"zTXt" | b"iTXt" if body.startswith(PNG_ORIENTATION_TEXTS):
            packed, text = png_text(kind, body)
            return not packed or _unpacks(text)
    return False


def _unpacks(packed: bytes) -> bool:
    """Whether `packed` decompresses without error to at most `_LARGEST_PNG_PART` bytes."""
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed, _LARGEST_PNG_PART)
    except zlib.error:
        return False
    return not unpacking.unconsumed_tail


WEBP_KINDS = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"ANIM", b"ANMF", b"EXIF", b"XMP "}
"""Types of a WebP's chunks (RFC 9649, 2.7)."""

_MAX_WEBP_CHUNKS = 50_000
"""Chunks of which the size is read; a photograph has three, and an animation one for each frame."""


def webp_chunks(data: Buffer) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of the body, without padding, of each complete chunk (RFC 9649)."""
    at = 12
    while at + 8 <= len(data):
        start = at + 8
        end = start + int.from_bytes(data[at + 4 : at + 8], "little")
        if end > len(data):
            return
        yield bytes(data[at : at + 4]), start, end
        at = end + (end & 1)


def sized_webp(data: bytes) -> bytes:
    """The WebP with the size of its chunks in its header, if the size that is there does not fit them: a
    decoder would not see the last ones, or wait for more. Returns `data` itself if the size fits."""
    chunks = islice(webp_chunks(data), _MAX_WEBP_CHUNKS)
    end = max((end + (end & 1) for kind, _, end in chunks if kind in WEBP_KINDS), default=0)
    if not end or end == 8 + int.from_bytes(data[4:8], "little"):
        return data
    return data[:4] + (end - 8).to_bytes(4, "little") + data[8:end].ljust(end - 8, b"\0")


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk (RFC 9649); (0, 0) if it is incomplete."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        return 0, 0
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
