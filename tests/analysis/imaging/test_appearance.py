"""Tests of a pin's appearance: its metal and its enamel colours."""

from __future__ import annotations

import pytest

from pinactors.analysis.imaging import appearance
from pinactors.protocol import View
from tests.analysis.prepared import plain_view


@pytest.mark.parametrize(
    ("colour", "metal"),
    [
        ((150, 150, 152), "silver"),
        ((200, 160, 70), "gold"),
        ((190, 110, 70), "copper"),
        ((45, 45, 48), "black nickel"),
        ((60, 60, 200), None),
    ],
)
def test_metal(colour: tuple[int, int, int], metal: str | None) -> None:
    assert appearance.metal(plain_view(View.BACK, colour)) == metal


def test_colours_have_a_name_a_value_and_a_share() -> None:
    (colour,) = appearance.enamel_colours(plain_view(View.FRONT, (200, 30, 40)))
    assert colour.name == "red"
    assert colour.share == pytest.approx(1.0)
    assert [abs(int(colour.hex[i : i + 2], 16) - c) <= 3 for i, c in ((1, 200), (3, 30), (5, 40))] == [
        True
    ] * 3
