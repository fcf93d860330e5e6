"""Tests of reading whole stamps: in any direction, with results that the grammar allows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pinactors.analysis.stamp import lines, ocr, reading
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared


@pytest.mark.parametrize("angle", [0, 8, 90, 180, 270])
def test_a_stamp_is_read_in_whatever_direction_it_runs(angle: float) -> None:
    read = reading.read(prepared.photo(drawing.pin_back(4), View.BACK, angle=angle))
    assert read.factory_code == "FAC-060122-15240"
    assert read.factory_code_confidence > 0.8
    assert (read.year, read.edition_size, read.origin) == (2015, 300, "CHINA")
    assert read.text_height > 10


def test_lines_are_told_where_they_are_and_in_reading_order() -> None:
    back = prepared.photo(drawing.pin_back(4), View.BACK)
    read = reading.read(back)
    heights = [float(line.quad[:, 1].mean()) for line in read.lines]
    assert heights == sorted(heights)
    assert read.lines[0].text.replace(" ", "") == "OFFICIALPINTRADING"
    assert back.pin is not None
    for line in read.lines:
        x, y = line.quad.mean(axis=0).astype(int)
        assert back.pin.mask[y, x] == 255


def test_a_plain_back_reads_nothing() -> None:
    read = reading.read(prepared.photo(drawing.pin_back(4, (), waffle=False), View.BACK))
    assert (read.lines, read.factory_code, read.year, read.brand) == ((), None, None, None)
    assert read.reason


def test_without_a_pin_nothing_is_read() -> None:
    read = reading.read(prepared.empty(View.BACK))
    assert read.lines == ()
    assert read.reason == "Nothing stands out from the background."


def test_a_clean_line_is_not_read_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading stops as soon as the readings agree: the two lines with numbers could each be read in four more
    variants."""
    recognised = []
    recognise = ocr.recognise

    def counted(line: npt.NDArray[np.uint8]) -> ocr.Reading:
        recognised.append(line.shape)
        return recognise(line)

    monkeypatch.setattr(ocr, "recognise", counted)
    read = reading.read(prepared.photo(drawing.pin_back(4), View.BACK))
    assert read.factory_code == "FAC-060122-15240"
    assert len(recognised) < len(drawing.STAMP) + 2 * 4


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_code_whose_end_the_detector_missed_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, upside_down: bool
) -> None:
    find = lines.BackCrop.find_lines

    def cut(source: lines.BackCrop, side: int, *, rotated: bool) -> list[npt.NDArray[np.float32]]:
        """Finds the lines, but cuts the last third off the code's line."""
        quads = find(source, side, rotated=rotated)
        places = [float(quad[:, 1].mean()) for quad in quads]
        code = quads[places.index(min(places) if upside_down else max(places))]
        kept, lost = ([1, 2], [0, 3]) if upside_down else ([0, 3], [1, 2])
        code[lost] += 0.35 * (code[kept] - code[lost])
        return quads

    monkeypatch.setattr(lines.BackCrop, "find_lines", cut)
    back = prepared.photo(drawing.pin_back(4), View.BACK, angle=180 if upside_down else 0)
    assert reading.read(back).factory_code == "FAC-060122-15240"


@pytest.mark.parametrize("angle", [0, 90])
def test_a_code_found_in_two_pieces_is_read_as_one(monkeypatch: pytest.MonkeyPatch, angle: float) -> None:
    """The detector may split a code at a hyphen; the digits of each piece then look like other numbers."""
    find = lines.BackCrop.find_lines

    def split(source: lines.BackCrop, side: int, *, rotated: bool) -> list[npt.NDArray[np.float32]]:
        quads = find(source, side, rotated=rotated)
        whole = [
            quad for quad in quads if "FAC-060122" in source.read([quad], upside_down=False)[0].best.text
        ]
        pieces = []
        for quad in whole:
            for start, end in ((0.0, -0.66), (-0.38, 0.0)):
                pieces.append(lines.grown(quad, across=0.0, start=start, end=end))
        return [quad for quad in quads if all(quad is not one for one in whole)] + pieces

    monkeypatch.setattr(lines.BackCrop, "find_lines", split)
    read = reading.read(prepared.photo(drawing.pin_back(4), View.BACK, angle=angle))
    assert read.factory_code == "FAC-060122-15240"
    assert "FAC-060122-15240" in [line.text for line in read.lines]


def test_small_turned_letters_are_read_enlarged() -> None:
    """The lines run upwards on a pin of 490 pixels: the second, enlarged reading finds them."""
    read = reading.read(prepared.photo(drawing.pin_back(4), View.BACK, angle=90, side=520))
    assert read.factory_code == "FAC-060122-15240"
