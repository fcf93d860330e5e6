"""Tests of reading the boxes of HEIC and AVIF files."""

from __future__ import annotations

import struct

import pytest
from PIL import Image as Pillow

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.imaging.iso_boxes import (
    METADATA,
    IsoBox,
    av1_sample_bytes,
    boxes,
    item_kinds,
    lacks_bytes,
    locations,
)
from pinactors.protocol import PinactorsError, View
from tests import drawing
from tests.analysis.imaging.quartered import LIMIT, quartered, saved


def test_a_heic_that_ends_before_its_last_tile_is_refused() -> None:
    """libheif itself leaves the tiles blank whose bytes did not arrive."""
    data = saved(Pillow.fromarray(quartered(256, 192)), "HEIF", tile_size=64)
    assert decode(data, View.FRONT, LIMIT).width == 256
    with pytest.raises(PinactorsError, match="damaged"):
        decode(data[:-1], View.FRONT, LIMIT)


def test_sizes_of_boxes_are_read_in_all_three_forms() -> None:
    """A size of 32 bits, one of 64 bits, and 0 for a box up to the end (ISO 14496-12, 4.2)."""
    data = struct.pack(">I4s4x", 12, b"aaaa") + struct.pack(">I4sQ2x", 1, b"bbbb", 18)
    data += struct.pack(">I4s5x", 0, b"cccc")
    assert list(boxes(data, 0, len(data))) == [
        IsoBox(b"aaaa", 0, 8, 12),
        IsoBox(b"bbbb", 12, 28, 30),
        IsoBox(b"cccc", 30, 38, 43),
    ]
    with pytest.raises(ValueError, match="ends before it begins"):
        list(boxes(struct.pack(">I4s", 7, b"aaaa"), 0, 8))
    with pytest.raises(ValueError, match="too many"):
        list(boxes(struct.pack(">I4s", 8, b"free") * 20_001, 0, 8 * 20_001))


@pytest.mark.parametrize(
    ("options", "bytes_per_pixel"),
    [({"subsampling": "4:2:0"}, 1.5), ({"subsampling": "4:2:2"}, 2.0), ({"subsampling": "4:4:4"}, 3.0)],
)
def test_the_samples_of_an_avif_are_counted(options: dict[str, object], bytes_per_pixel: float) -> None:
    picture = Pillow.fromarray(quartered())
    assert av1_sample_bytes(saved(picture, "AVIF", **options)) == bytes_per_pixel
    picture.putalpha(90)
    transparent = saved(picture, "AVIF", **options)
    assert av1_sample_bytes(transparent) == bytes_per_pixel + 1, "its alpha is a picture of its own"
    assert av1_sample_bytes(b"no boxes") == 1.5


def test_items_of_a_heic_are_found_with_their_bytes() -> None:
    data = drawing.encoded(quartered(), "HEIF", 6)
    (meta,) = (box for box in boxes(data, 0, len(data)) if box.kind == b"meta")
    inner = {box.kind: box for box in boxes(data, meta.body + 4, meta.end)}
    kinds = dict(item_kinds(data, inner[b"iinf"]))
    assert sorted(kinds.values()) == [b"Exif", b"hvc1"]
    places = dict(locations(data, inner[b"iloc"], 0))
    (exif,) = (item for item, kind in kinds.items() if kind in METADATA)
    ((start, end),) = places[exif]
    assert b"MM\0*" in data[start:end] or b"II*\0" in data[start:end]
    assert max(stop for extents in places.values() for _, stop in extents) == len(data)
    assert not lacks_bytes(data)
    assert lacks_bytes(data[:-1]) == (end < len(data)), "nobody misses the metadata"
