"""Removes the metadata of HEIC and AVIF files by overwriting its bytes in place: all other bytes stay where
they are.

Such a file is a tree of boxes (ISO 14496-12). Its `meta` box lists items (`iinf`) and where their bytes are
(`iloc`, ISO 14496-12 8.11.3). Items with EXIF or XMP are overwritten. None of their content is needed: the
rotation of the picture is a property of the picture item, not of EXIF (ISO 23008-12 A.2.3).
"""

from __future__ import annotations

from pinactors.analysis.imaging.iso_boxes import METADATA, FileData, IsoBox, boxes, item_kinds, locations

_KEPT = {b"ftyp", b"meta", b"mdat", b"moov", b"pdin", b"idat"}
"""Top-level boxes that a picture may need. Other boxes hold videos, positions, data of the camera's maker, or
data that a program meant to delete."""

_EMPTY_TIFF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
_DEPTH = 3
_MAX_EXTENTS = 1000
_MAX_BYTES = 4 << 20
"""Limits: extents of metadata, and bytes of one item's metadata."""

Blanks = list[tuple[int, bytes]]
"""(offset, new bytes) of each part to overwrite, in order and without overlaps."""


def blanks(data: FileData) -> Blanks:
    """The parts of `data` to overwrite so that no metadata is left. Raises `struct.error`, `ValueError` or
    `IndexError` for a file that cannot be parsed."""
    found: Blanks = []
    for box in boxes(data, 0, len(data)):
        if box.kind == b"meta":
            _blank_items(data, found, box)
        elif box.kind == b"moov":
            _blank_user_data(data, found, box, _DEPTH)
        elif box.kind not in _KEPT:
            _free(found, box)
    return _without_overlaps(data, found)


def _without_overlaps(data: FileData, found: Blanks) -> Blanks:
    """`found` in order, without parts that are blank already and without parts that overlap an earlier one,
    which only a malicious file has."""
    disjoint: Blanks = []
    for start, blank in sorted(found):
        if data[start : start + len(blank)] != blank and (
            not disjoint or start >= disjoint[-1][0] + len(disjoint[-1][1])
        ):
            disjoint.append((start, blank))
    return disjoint


def _free(found: Blanks, box: IsoBox) -> None:
    found.append((box.start + 4, b"free"))
    found.append((box.body, bytes(box.end - box.body)))


def _blank_user_data(data: FileData, found: Blanks, box: IsoBox, depth: int) -> None:
    for inner in boxes(data, box.body, box.end):
        if inner.kind in (b"udta", b"uuid", b"meta"):
            _free(found, inner)
        elif inner.kind in (b"trak", b"mdia") and depth:
            _blank_user_data(data, found, inner, depth - 1)


def _blank_items(data: FileData, found: Blanks, meta: IsoBox) -> None:
    inner = {box.kind: box for box in boxes(data, meta.body + 4, meta.end)}
    if b"uuid" in inner:
        _free(found, inner[b"uuid"])
    if b"iinf" not in inner or b"iloc" not in inner:
        return
    wanted = {item: kind for item, kind in item_kinds(data, inner[b"iinf"]) if kind in METADATA}
    store = inner[b"idat"].body if b"idat" in inner else 0
    for item, extents in locations(data, inner[b"iloc"], store):
        if item in wanted:
            if len(found) > _MAX_EXTENTS or len(extents) > _MAX_EXTENTS:
                raise ValueError("too much metadata")
            extents = [(start, min(end, len(data))) for start, end in extents]
            blank = sum(len(bytes_) for _, bytes_ in found) + sum(
                max(0, end - start) for start, end in extents
            )
            if blank > len(data):
                raise ValueError("items with the same bytes")  # each would take its own memory here
            _blank(found, extents, wanted[item])


def _blank(found: Blanks, extents: list[tuple[int, int]], kind: bytes) -> None:
    """Overwrites text with spaces, and EXIF with an empty directory after the 4-byte offset. Raises
    `ValueError` if the item is larger than a camera's metadata."""
    if sum(max(0, end - start) for start, end in extents) > _MAX_BYTES:
        raise ValueError("too much metadata")
    for number, (start, end) in enumerate(extents):
        length = max(0, end - start)
        blank = bytes(length) if kind == b"Exif" else b" " * length
        if kind == b"Exif" and number == 0 and length >= 4 + len(_EMPTY_TIFF):
            blank = bytes(4) + _EMPTY_TIFF + bytes(length - 4 - len(_EMPTY_TIFF))
        found.append((start, blank))
