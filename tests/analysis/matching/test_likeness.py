"""Tests of the similarity of two registered pins: the colours of pins with colours and without."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import alignment, likeness
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.drawing import Pin

COLOURED = drawing.pin_front(4)
RECOLOURED = Pin(np.ascontiguousarray(COLOURED.rgb[..., [2, 0, 1]]), COLOURED.mask)
COLOURLESS = Pin(
    np.asarray(cv2.cvtColor(cv2.cvtColor(COLOURED.rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8),
    COLOURED.mask,
)


def chroma(photographed: Pin, catalogued: Pin) -> float:
    seen, known = (
        prepared.photo(photographed, View.FRONT, angle=3),
        prepared.reference(catalogued, View.FRONT),
    )
    assert seen.pin is not None
    query, reference = Portrait.of(seen.pin.rgb, seen.pin.crop_mask), Portrait.of(known.rgb, known.mask)
    found = likeness.compare(query, reference, alignment.register(query, reference).to_query)
    assert found is not None
    return found.chroma


@pytest.mark.parametrize("pin", [COLOURED, COLOURLESS])
def test_a_pin_has_its_own_colours_even_if_it_has_none(pin: Pin) -> None:
    assert chroma(pin, pin) > 0.9


@pytest.mark.parametrize(
    ("photographed", "catalogued"),
    [(COLOURED, RECOLOURED), (COLOURLESS, COLOURED), (COLOURED, COLOURLESS)],
)
def test_variants_in_other_colours_do_not_agree(photographed: Pin, catalogued: Pin) -> None:
    assert chroma(photographed, catalogued) < 0.5
