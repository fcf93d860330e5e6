"""Reads the boxes of HEIC and AVIF files: what their items are and where the bytes of each item are.

Such a file is a tree of boxes (ISO 14496-12). Its `meta` box lists the items (`iinf`) and their places
(`iloc`, 8.11.3). A picture of a phone is a grid of some fifty items, and its decoder leaves tiles blank whose
bytes are missing.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_BOXES = 20_000
"""Boxes of one level that are read; a camera's file has in the order of a hundred."""

_MAX_EXTENTS = 20_000
"""Extents that are read of all items together; a camera's file has one for each item. An extent may take no
bytes in the file, so that the file's size is no limit."""

METADATA = (b"Exif", b"mime", b"uri ")
"""The kinds of items that are EXIF, XMP or other text."""


@dataclass(frozen=True, slots=True)
class IsoBox:
    """A box: its kind, its first byte, and its body from `body` up to `end`, all as offsets in the file."""

    kind: bytes
    start: int
    body: int
    end: int


FileData = bytes | mmap.mmap
"""A file's content, in memory or mapped."""


def lacks_bytes(data: bytes) -> bool:
    """Whether the file ends before the last byte of an item that is no metadata. False for a file that cannot
    be parsed: that is for a decoder to say."""
    try:
        for box in boxes(data, 0, len(data)):
            if box.kind == b"meta" and _lacks_bytes(data, box):
                return True
    except (struct.error, IndexError, ValueError):
        pass
    return False


def _lacks_bytes(data: bytes, meta: IsoBox) -> bool:
    inner = {box.kind: box for box in boxes(data, meta.body + 4, meta.end)}
    if b"iinf" not in inner or b"iloc" not in inner:
        return False
    metadata = {item for item, kind in item_kinds(data, inner[b"iinf"]) if kind in METADATA}
    store = inner[b"idat"].body if b"idat" in inner else 0
    return any(
        end > len(data)
        for item, extents in locations(data, inner[b"iloc"], store)
        if item not in metadata
        for _, end in extents
    )


def av1_sample_bytes(data: bytes) -> float:
    """Bytes per pixel of an AVIF picture's decoded samples, with those of its transparency, which is a
    picture of its own: of all codings that the file describes (AV1-ISOBMFF, 2.3.3). Those of 4:2:0 with 8
    bits if the file cannot be parsed: that is for a decoder to say."""
    total = 0.0
    try:
        for coding in _within(data, IsoBox(b"", 0, 0, len(data)), b"meta", b"iprp", b"ipco", b"av1C"):
            flags = data[coding.body + 2]
            deep, grey, halved_x, halved_y = (bool(flags & bit) for bit in (0x40, 0x10, 8, 4))
            chroma = 0.0 if grey else 2.0 / (1 + halved_x) / (1 + halved_y)
            total += (1 + chroma) * (1 + deep)
    except (struct.error, IndexError, ValueError):
        pass
    return total or 1.5


def _within(data: bytes, outer: IsoBox, *path: bytes) -> Iterator[IsoBox]:
    """The boxes at the end of a path of kinds below `outer`."""
    if not path:
        yield outer
        return
    for box in boxes(data, outer.body + (4 if outer.kind == b"meta" else 0), outer.end):
        if box.kind == path[0]:
            yield from _within(data, box, *path[1:])


def boxes(data: FileData, start: int, end: int) -> Iterator[IsoBox]:
    """The boxes from `start` to `end`. Raises `ValueError` or `struct.error` for bytes that are no boxes."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        elif size == 0:
            size = end - start
        if size < body - start:
            raise ValueError("a box ends before it begins")
        stop = min(start + size, end)
        yield IsoBox(kind, start, body, stop)
        start = stop
    raise ValueError("too many boxes")


def item_kinds(data: FileData, iinf: IsoBox) -> Iterator[tuple[int, bytes]]:
    """(item, kind) of each item (8.11.6)."""
    version = data[iinf.body]
    for entry in boxes(data, iinf.body + (6 if version == 0 else 8), iinf.end):
        if entry.kind != b"infe" or data[entry.body] < 2:
            continue
        wide = data[entry.body] > 2
        (item,) = struct.unpack_from(">I" if wide else ">H", data, entry.body + 4)
        at = entry.body + (10 if wide else 8)
        yield item, bytes(data[at : at + 4])


def locations(data: FileData, iloc: IsoBox, store: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """(item, its extents as start and end in the file) of each item; `store` is where the content of the
    `idat` box begins. Raises `ValueError` for a table that is cut off or has too many extents."""
    version, sizes = data[iloc.body], data[iloc.body + 4 : iloc.body + 6]
    offset_size, length_size = sizes[0] >> 4, sizes[0] & 15
    base_size, index_size = sizes[1] >> 4, sizes[1] & 15 if version else 0
    at, left = iloc.body + 6, _MAX_EXTENTS
    wide = version >= 2

    def number(size: int) -> int:
        nonlocal at
        if at + size > iloc.end:
            raise ValueError("a table of items is cut off")
        at += size
        return int.from_bytes(data[at - size : at], "big")

    for _ in range(number(4 if wide else 2)):
        item = number(4 if wide else 2)
        method = number(2) & 15 if version else 0
        number(2)  # data_reference_index: this file
        base = number(base_size) + (store if method == 1 else 0)
        extents: list[tuple[int, int]] = []
        count = number(2)
        left -= count
        if left < 0:
            raise ValueError("too many extents")
        for _ in range(count):
            number(index_size)
            start = base + number(offset_size)
            length = number(length_size)
            extents.append((start, start + length if length else len(data)))
        if method < 2:
            yield item, extents
