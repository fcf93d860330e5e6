"""Reads a photograph's format, its coding and its metadata chunks without decoding pixels, and removes chunks
that a decoder does not need.

No function here raises for damaged input: it returns None for what cannot be read, or leaves it unchanged.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
