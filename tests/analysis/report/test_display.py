"""Tests of the display fragments: they describe a photograph in words, bounded in size and escaped."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinactors.analysis.model import Cutout, PreparedView, Quality
from pinactors.analysis.report.display import MAX_PROBLEMS, render
from pinactors.protocol import PACKET_LIMIT, HtmlDisplayData, View, decode
from tests.analysis.imaging import hostile


def photograph(
    view: View = View.FRONT, *, found: bool = True, score: float = 0.9, **quality: object
) -> PreparedView:
    mask = np.zeros((100, 200), np.uint8)
    mask[:50, :100] = 255
    crop = np.zeros((8, 8, 3), np.uint8)
    pin = Cutout(mask, np.zeros((4, 2), np.float32), crop, crop[:, :, 0], np.eye(3), 0.9, False)
    judged = Quality(2.0, 0.5, 0.0, 0.0, 1234.4, score, **quality)  # type: ignore[arg-type]
    return PreparedView(
        view,
        4000,
        3000,
        0.05,
        "image/jpeg",
        "0" * 64,
        np.zeros((100, 200, 3), np.uint8),
        judged,
        pin if found else None,
        "" if found else "Nothing stands out from the background.",
    )


def test_a_fragment_says_size_quality_and_what_was_found() -> None:
    fragment = render(photograph(), None, None).front_html
    for words in (
        "Front",
        "4,000 × 3,000 pixels",
        "quality good",
        "25 % of the picture",
        "1,234 pixels across",
    ):
        assert words in fragment
    assert "<li>" not in fragment


def test_a_view_that_was_not_sent_has_no_fragment() -> None:
    assert b"backHtml" not in render(photograph(), None, None).encode()
    packet = render(photograph(), photograph(View.BACK), photograph(View.ANGLED))
    assert "Back" in str(packet.back_html)
    assert "Tilted" in str(packet.angled_html)


@pytest.mark.parametrize(
    ("score", "word"),
    [(1.0, "good"), (0.75, "good"), (0.74, "usable"), (0.5, "usable"), (0.49, "poor"), (0.0, "poor")],
)
def test_quality_in_words(score: float, word: str) -> None:
    assert f"quality {word}." in render(photograph(score=score), None, None).front_html


def test_problems_are_listed_with_what_to_do() -> None:
    problems = ("It is dark. Use a window's light.", "It is blurred. Hold still.")
    fragment = render(photograph(problems=problems), None, None).front_html
    assert "<li>It is dark. Use a window&#39;s light.</li>" in fragment
    assert "<li>It is blurred. Hold still.</li>" in fragment
    assert render(photograph(problems=("x",) * 30), None, None).front_html.count("<li>") == MAX_PROBLEMS


def test_no_pin_and_half_a_pin_are_said() -> None:
    assert "No pin was found. Nothing stands out" in render(photograph(found=False), None, None).front_html
    whole = photograph()
    assert whole.pin is not None
    half = dataclasses.replace(whole, pin=dataclasses.replace(whole.pin, cut_off=True))
    assert "outside the picture" in render(half, None, None).front_html
    assert "outside the picture" not in render(whole, None, None).front_html


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_hostile_sentences_stay_text_and_three_views_fit(text: str) -> None:
    views = [
        dataclasses.replace(photograph(view, found=False, problems=(text,) * 9), pin_problem=text)
        for view in View
    ]
    packet = hostile.stamped(render(*views))
    for fragment in (packet.front_html, packet.back_html, packet.angled_html):
        assert hostile.faults(str(fragment)) == []
    assert len(packet.encode()) <= PACKET_LIMIT
    assert isinstance(decode(packet.encode()), HtmlDisplayData)
