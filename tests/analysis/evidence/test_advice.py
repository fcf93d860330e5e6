"""Tests of the summary: it names the evidence that counted most, in order, and matches the list of rows."""

from __future__ import annotations

import pytest

from pinactors.analysis.evidence import advice
from pinactors.analysis.evidence.photographs import Photographs
from pinactors.analysis.model import Match, Reference
from pinactors.protocol import Evidence, Verdict, View
from tests.analysis import prepared

FRONT, BACK = prepared.empty(View.FRONT), prepared.empty(View.BACK)


def rows(*weights: float) -> list[Evidence]:
    return sorted(
        (Evidence(f"row_{number}", f"Row {number} seen.", weight) for number, weight in enumerate(weights)),
        key=lambda row: -abs(row.weight),
    )


def said(evidence: list[Evidence], verdict: Verdict, *, barring: str = "") -> str:
    return advice.summary(
        evidence, verdict, Photographs(FRONT, BACK, None, None, None), Match(), barring=barring
    )


@pytest.mark.parametrize(
    ("verdict", "weights", "expected"),
    [
        (
            Verdict.COUNTERFEIT,
            (-0.9, 0.2, -0.4, -0.3),
            "Looks counterfeit. Against it: row 0 seen; row 2 seen. For it: row 1 seen.",
        ),
        (Verdict.AUTHENTIC, (0.4, 0.05, -0.05), "Looks genuine. For it: row 0 seen."),
        (
            Verdict.AUTHENTIC,
            (0.3, -0.5, 0.3),
            "Looks genuine. For it: row 0 seen; row 2 seen. Against it: row 1 seen.",
        ),
        (
            Verdict.AUTHENTIC,
            (0.05,),
            "Looks genuine. Nothing in the photographs counts much for or against it.",
        ),
        (Verdict.NOT_A_PIN, (-0.9,), "No pin was found."),
    ],
)
def test_what_counted_most_is_named_in_order(
    verdict: Verdict, weights: tuple[float, ...], expected: str
) -> None:
    assert said(rows(*weights), verdict) == expected


def test_an_open_verdict_says_why_before_what_was_seen() -> None:
    text = said(rows(0.4, -0.2, -0.3), Verdict.UNDETERMINED, barring="Row 2 seen.")
    assert text.startswith(
        "Not decided. A single finding against it keeps it from being called genuine: row 2 seen. For it:"
    )
    assert text.count("ow 2") == 1
    assert text.index("For it: row 0") < text.index("Against it: row 1")
    assert "without a usable photograph of its back" in said(rows(0.4), Verdict.UNDETERMINED)


@pytest.mark.parametrize(("view", "word"), [(View.FRONT, "drawing"), (View.BACK, "stamp")])
def test_a_picture_that_the_catalogue_lacks_is_asked_for(view: View, word: str) -> None:
    match = prepared.match({view: Reference(view, FRONT.rgb, FRONT.rgb[..., 0]) for view in View})
    missing_advice = prepared.match(
        {other: found for other, found in match.references.items() if other is not view}
    )
    photographs = Photographs(FRONT, BACK, None, None, None)
    asked = [
        text
        for text in advice.recommendations([], Verdict.UNDETERMINED, photographs, missing_advice)
        if text not in advice.recommendations([], Verdict.UNDETERMINED, photographs, match)
    ]
    assert len(asked) == 1
    assert f"no picture of this pin's {view}" in asked[0]
    assert word in asked[0]
