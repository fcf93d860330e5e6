"""Removal of metadata from the boxes of HEIC and AVIF files."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest

from pinactors.analysis.imaging.decode import decode
from pinactors.protocol import View
from tests.storage.telling import photograph, without_metadata


def test_boxes_of_makers_in_a_heic_are_blanked() -> None:
    sent = photograph("HEIF")
    film = b"mpvd" + b"moov GPSLatitude 52.5"
    kept = without_metadata(sent + struct.pack(">I", len(film) + 4) + film)
    assert b"GPSLatitude" not in kept
    assert np.array_equal(decode(kept, View.FRONT, 10**8).rgb, decode(sent, View.FRONT, 10**8).rgb)


def heic_of(extents: bytes, items: int, extent_bytes: int) -> bytes:
    """A HEIC file with 1 MB and a number of items that are text, each with the same `extents`: their count,
    and offset and length of each if they take `extent_bytes` in the file."""
    entries = (
        b"infe" + bytes([2, 0, 0, 0]) + struct.pack(">HH", item, 0) + b"mime\0" for item in range(items)
    )
    iinf = bytes(4) + struct.pack(">H", items) + b"".join(struct.pack(">I", len(e) + 4) + e for e in entries)
    sizes = bytes([1, 0, 0, 0, extent_bytes << 4 | extent_bytes, 0]) + struct.pack(">H", items)
    iloc = sizes + b"".join(struct.pack(">HHH", item, 0, 0) + extents for item in range(items))
    boxes = b"".join(struct.pack(">I", len(b) + 8) + k + b for k, b in ((b"iinf", iinf), (b"iloc", iloc)))
    meta = struct.pack(">I4s4x", len(boxes) + 12, b"meta") + boxes
    return (
        b"\0\0\0\x18ftypheic"
        + bytes(12)
        + meta
        + struct.pack(">I4s", 8 + (1 << 20), b"mdat")
        + bytes(1 << 20)
    )


@pytest.mark.parametrize(
    "data",
    [
        heic_of(struct.pack(">H", 65_535), items=200, extent_bytes=0),
        heic_of(struct.pack(">HII", 1, 0, 1 << 20), items=900, extent_bytes=4),
    ],
    ids=["extents without bytes", "items with the same bytes"],
)
def test_a_table_of_items_costs_no_more_memory_than_the_file(data: bytes) -> None:
    tracemalloc.start()
    try:
        assert without_metadata(data) == data[:12]
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    finally:
        tracemalloc.stop()
