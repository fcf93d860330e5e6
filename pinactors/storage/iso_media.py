"""Removes the metadata of HEIC and AVIF files by overwriting its bytes in place: all other bytes stay where
they are.

Such a file is a tree of boxes (ISO 14496-12). Its `meta` box lists items (`iinf`) and where their bytes are
(`iloc`, ISO 14496-12 8.11.3). Items with EXIF or XMP are overwritten. None of their content is needed: the
rotation of the picture is a property of the picture item, not of EXIF (ISO 23008-12 A.2.3).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_KEPT = {b"ftyp", b"meta", b"mdat", b"moov", b"pdin", b"idat"}
"""Top-level boxes that a picture may need. Other boxes hold videos, positions, data of the camera's maker, or
data that a program meant to delete."""

_EMPTY_TIFF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
_DEPTH = 3
_MOST_BOXES = 20_000
_MOST_EXTENTS = 1000
_MOST_BYTES = 4 << 20
"""Limits: boxes of one level (a camera's file has in the order of a hundred), extents of metadata, and bytes
of one item's metadata."""


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    body: int
    end: int


Buffer = bytes | mmap.mmap
Blanks = list[tuple[int, bytes]]
"""(offset, new bytes) of each part to overwrite, in order and without overlaps."""


def blanks(data: Buffer) -> Blanks:
    """The parts of `data` to overwrite so that no metadata is left. Raises `struct.error`, `ValueError` or
    `IndexError` for a file that cannot be parsed."""
    found: Blanks = []
    for box in _boxes(data, 0, len(data)):
        if box.kind == b"meta":
            _blank_items(data, found, box)
        elif box.kind == b"moov":
            _blank_user_data(data, found, box, _DEPTH)
        elif box.kind not in _KEPT:
            _free(found, box)
    return _without_overlaps(data, found)


def _without_overlaps(data: Buffer, found: Blanks) -> Blanks:
    """`found` in order, without parts that are blank already and without parts that overlap an earlier one,
    which only a malicious file has."""
    disjoint: Blanks = []
    for start, blank in sorted(found):
        if data[start : start + len(blank)] != blank and (
            not disjoint or start >= disjoint[-1][0] + len(disjoint[-1][1])
        ):
            disjoint.append((start, blank))
    return disjoint


def _boxes(data: Buffer, start: int, end: int) -> Iterator[_Box]:
    for _ in range(_MOST_BOXES):
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
        yield _Box(kind, start, body, stop)
        start = stop
    raise ValueError("too many boxes")


def _free(found: Blanks, box: _Box) -> None:
    found.append((box.start + 4, b"free"))
    found.append((box.body, bytes(box.end - box.body)))


def _blank_user_data(data: Buffer, found: Blanks, box: _Box, depth: int) -> None:
    for inner in _boxes(data, box.body, box.end):
        if inner.kind in (b"udta", b"uuid", b"meta"):
            _free(found, inner)
        elif inner.kind in (b"trak", b"mdia") and depth:
            _blank_user_data(data, found, inner, depth - 1)


def _blank_items(data: Buffer, found: Blanks, meta: _Box) -> None:
    inner = {box.kind: box for box in _boxes(data, meta.body + 4, meta.end)}
    if b"uuid" in inner:
        _free(found, inner[b"uuid"])
    if b"iinf" not in inner or b"iloc" not in inner:
        return
    wanted = dict(_metadata_items(data, inner[b"iinf"]))
    store = inner[b"idat"].body if b"idat" in inner else 0
    for item, extents in _locations(data, inner[b"iloc"], store):
        if item in wanted:
            if len(found) > _MOST_EXTENTS or len(extents) > _MOST_EXTENTS:
                raise ValueError("too much metadata")
            _blank(found, [(start, min(end, len(data))) for start, end in extents], wanted[item])


def _metadata_items(data: Buffer, iinf: _Box) -> Iterator[tuple[int, bytes]]:
    """(item, kind) of the items that are EXIF, XMP or other text (8.11.6)."""
    version = data[iinf.body]
    for entry in _boxes(data, iinf.body + (6 if version == 0 else 8), iinf.end):
        if entry.kind != b"infe" or data[entry.body] < 2:
            continue
        wide = data[entry.body] > 2
        (item,) = struct.unpack_from(">I" if wide else ">H", data, entry.body + 4)
        at = entry.body + (10 if wide else 8)
        kind = bytes(data[at : at + 4])
        if kind in (b"Exif", b"mime", b"uri "):
            yield item, kind


def _locations(data: Buffer, iloc: _Box, store: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """(item, its extents as start and end in the file) of each item; `store` is where the content of the
    `idat` box begins."""
    version, sizes = data[iloc.body], data[iloc.body + 4 : iloc.body + 6]
    offset_size, length_size = sizes[0] >> 4, sizes[0] & 15
    base_size, index_size = sizes[1] >> 4, sizes[1] & 15 if version else 0
    at = iloc.body + 6
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
        extents = []
        for _ in range(number(2)):
            number(index_size)
            start = base + number(offset_size)
            length = number(length_size)
            extents.append((start, start + length if length else len(data)))
        if method < 2:
            yield item, extents


def _blank(found: Blanks, extents: list[tuple[int, int]], kind: bytes) -> None:
    """Overwrites text with spaces, and EXIF with an empty directory after the 4-byte offset. Raises
    `ValueError` if the item is larger than a camera's metadata."""
    if sum(max(0, end - start) for start, end in extents) > _MOST_BYTES:
        raise ValueError("too much metadata")
    for number, (start, end) in enumerate(extents):
        length = max(0, end - start)
        blank = bytes(length) if kind == b"Exif" else b" " * length
        if kind == b"Exif" and number == 0 and length >= 4 + len(_EMPTY_TIFF):
            blank = bytes(4) + _EMPTY_TIFF + bytes(length - 4 - len(_EMPTY_TIFF))
        found.append((start, blank))
