"""Tests of text in fragments of HTML."""

from __future__ import annotations

import pytest

from pinactors.analysis.report.html import plain


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        ("Fox", 3, "Fox"),
        ("Foxes", 5, "Foxes"),
        ("Foxes!", 5, "Fo…"),
        ("a\n\tb\x00c", 20, "a b c"),
        ("<b>", 9, "<b>"),  # the limit counts the escaped text: &lt;b&gt;
        ("<b>", 8, "<b…"),
        ("éé", 4, "éé"),
        ("ééé", 5, "é…"),
        ("\u202eabc\ud800", 9, "abc"),
        ("👩\u200d🚀", 20, "👩\u200d🚀"),  # a zero-width joiner is part of an emoji
        ("\\\\\\", 5, "\\…"),
        ("", 0, ""),
    ],
)
def test_plain_text_is_one_bounded_line(text: str, limit: int, line: str) -> None:
    assert plain(text, limit) == line
