"""Tests of joining the pieces of a code, and of the quadrilaterals around lines."""

from __future__ import annotations

import numpy as np
import pytest

from pinactors.analysis.model import Points
from pinactors.analysis.stamp import lines
from pinactors.analysis.stamp.lines import Line
from pinactors.analysis.stamp.ocr import Reading


def box(x: float, y: float, width: float, height: float) -> Points:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)


def upside_down(quad: Points, degrees: float) -> Points:
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(quad @ matrix, np.float32)


def line(text: str, quad: Points, *, upside_down: bool = False) -> Line:
    reading = Reading(text, 0.9, np.zeros((1, 2), np.float32), np.zeros(1, np.intp))
    return Line(quad, upside_down, [reading])


HEAD, TAIL = box(0, 0, 50, 20), box(70, 2, 60, 22)


@pytest.mark.parametrize("angle", [0, 15, 90, 200])
def test_digits_that_follow_a_code_s_beginning_continue_it(angle: float) -> None:
    head, tail = line("FAC-06", upside_down(HEAD, angle)), line("-15240", upside_down(TAIL, angle))
    assert lines._continues_code(head, tail)
    assert not lines._continues_code(tail, head)
    around = lines._enclosing_quad(head.quad, tail.quad)
    assert lines.length(around) == pytest.approx(130, abs=2)
    assert lines.thickness(around) == pytest.approx(24, abs=3)


def test_a_line_read_on_its_head_is_continued_to_its_left() -> None:
    head, tail = line("FAC-06", TAIL, upside_down=True), line("-15240", HEAD, upside_down=True)
    assert lines._continues_code(head, tail)
    assert not lines._continues_code(head, line("-15240", HEAD))


@pytest.mark.parametrize(
    ("text", "quad"),
    [
        ("-15240", box(70, 30, 60, 22)),  # the line below
        ("-15240", box(130, 2, 60, 22)),  # too far off
        ("-15240", box(70, 0, 60, 60)),  # another letter size
        ("MADE IN", TAIL),
        ("24", TAIL),
    ],
)
def test_other_lines_do_not(text: str, quad: Points) -> None:
    assert not lines._continues_code(line("FAC-06", HEAD), line(text, quad))


def test_a_quadrilateral_grows_along_and_across_its_line() -> None:
    wide = lines.grown(box(0, 0, 100, 20), across=0.5, start=0.1, end=0.2)
    assert wide.min(axis=0).tolist() == [-10, -5]
    assert wide.max(axis=0).tolist() == [120, 25]
    assert lines.thickness(lines.grown(box(0, 0, 100, 20), across=-0.5)) == 10


def test_of_lines_across_each_other_the_surer_longer_one_stays() -> None:
    whole, part = line("FAC-060122-15240", box(0, 0, 130, 20)), line("0122", box(50, 0, 40, 20))
    apart = line("MADE IN CHINA", box(0, 40, 100, 20))
    assert lines.distinct([part, whole, apart]) == [whole, apart]
