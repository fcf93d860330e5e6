"""Tests of a JPEG's frame header. `test_decode` tests its scans and restart markers, on damaged files."""

from __future__ import annotations

import pytest

from pinactors.analysis.imaging.jpeg_segments import jpeg_frame
from tests import drawing
from tests.analysis.imaging.quartered import quartered


@pytest.mark.parametrize(
    ("subsampling", "samples"), [("4:4:4", 3.0), ("4:2:2", 2.0), ("4:2:0", 1.5)], ids=["444", "422", "420"]
)
@pytest.mark.parametrize("progressive", [False, True])
def test_the_frame_of_a_jpeg(subsampling: str, samples: float, progressive: bool) -> None:
    data = drawing.encoded(quartered(90, 60), "JPEG", subsampling=subsampling, progressive=progressive)
    frame = jpeg_frame(data)
    assert frame is not None
    assert (frame.width, frame.height, frame.bits, frame.components) == (90, 60, 8, 3)
    assert (frame.samples, frame.buffered) == (samples, progressive)
    assert jpeg_frame(data[: data.index(b"\xff\xda")]) == frame
    assert jpeg_frame(data[:20]) is None
