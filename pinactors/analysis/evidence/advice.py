"""Puts a verdict in words: which rows counted most, and which photograph or catalogue picture is missing."""

from __future__ import annotations

from collections.abc import Sequence

from pinactors.analysis.evidence import gates, stamp_text
from pinactors.analysis.evidence.photographs import Photographs
from pinactors.analysis.imaging.quality import SUFFICIENT_SIDE_PIXELS
from pinactors.analysis.model import Match
from pinactors.protocol import Evidence, Verdict, View

MIN_NAMED_LOG10 = 0.1
"""Log10 likelihood ratio, for or against, from which a row is named in the summary: a factor of 1.25."""

MAX_NAMED_ROWS = 2
"""Largest number of rows that are named for, and against, the pin."""

WEIGHING_ADVICE = (
    "At home: weigh it and hold it beside one bought from a shop. "
    "No photograph shows weight, feel or magnetism."
)

MISSING_PICTURE_ADVICE = {
    View.FRONT: (
        "The catalogue has no picture of this pin's front. With one, drawing, colours and proportions could "
        "be compared."
    ),
    View.BACK: (
        "The catalogue has no picture of this pin's back. With one, pattern and stamp could be compared."
    ),
}
"""Advice if the catalogue lacks a picture of the identified pin."""

NOT_OUTLINED_ADVICE = (
    "The catalogue's picture of this pin's {view} was not compared, because the pin does not stand out from "
    "its background. A cut-out, or a picture on a plain background, could be compared."
)

TILTED_ADVICE = "Add a photograph of the pin tilted under a lamp: it shows how the enamel fills the metal."

NOT_COMPARED_ADVICE = "Not compared with a catalogue picture."

NOT_REGISTERED_ADVICE = (
    "The photograph of the {view} could not be registered on the catalogue's picture, so the two were not "
    "compared."
)

_ASKS_FOR_NO_REPEAT = (
    WEIGHING_ADVICE,
    TILTED_ADVICE,
    NOT_COMPARED_ADVICE,
    *MISSING_PICTURE_ADVICE.values(),
    NOT_OUTLINED_ADVICE.partition("{")[0],
)
"""The beginnings of the advice that is not about a photograph that was sent or is missing."""

ONLY_WEAR_SENTENCE = (
    "Most of what speaks against it also occurs on worn pins and on a factory's rejects, so it is not called "
    "counterfeit."
)

VERDICT_SENTENCES = {
    Verdict.AUTHENTIC: "Looks genuine.",
    Verdict.COUNTERFEIT: "Looks counterfeit.",
    Verdict.UNDETERMINED: "Not decided.",
    Verdict.NOT_A_PIN: "No pin was found.",
}


def summary(
    evidence: Sequence[Evidence],
    verdict: Verdict,
    photographs: Photographs,
    match: Match,
    *,
    barring: str = "",
    only_wear: bool = False,
) -> str:
    """The verdict in a few sentences: the side that counted more first, each side with its heaviest rows.

    `evidence` is in the packet's order, heaviest first. `barring` is the finding of the row that alone
    prevented the verdict `authentic`, if one did; `only_wear` says that `counterfeit` was not given because
    most of what speaks against the pin also occurs by wear.
    """
    sentences = [VERDICT_SENTENCES[verdict]]
    if verdict is Verdict.NOT_A_PIN:
        return sentences[0]
    if verdict is Verdict.UNDETERMINED:
        sentences.append(_why_undetermined(photographs, match, barring, only_wear))
    against = [row for row in evidence if row.weight <= -MIN_NAMED_LOG10 and row.finding != barring]
    favour = [row for row in evidence if row.weight >= MIN_NAMED_LOG10]
    sides = [("Against it", against), ("For it", favour)]
    if verdict is not Verdict.COUNTERFEIT and (verdict is Verdict.AUTHENTIC or _sum(favour) > _sum(against)):
        sides.reverse()
    for title, rows in sides:
        if rows:
            sentences.append(f"{title}: {_joined([row.finding for row in rows[:MAX_NAMED_ROWS]])}")
    if not against and not favour and not barring:
        sentences.append("Nothing in the photographs counts much for or against it.")
    return " ".join(filter(None, sentences))


def _why_undetermined(photographs: Photographs, match: Match, barring: str, only_wear: bool) -> str:
    if barring:
        return f"A single finding against it keeps it from being called genuine: {_joined([barring])}"
    if only_wear:
        return ONLY_WEAR_SENTENCE
    if photographs.back is None or photographs.back.pin is None:
        return "No pin is called genuine or counterfeit without a usable photograph of its back."
    if match.pin is None:
        return "No pin is called genuine or counterfeit without a catalogue picture to compare it with."
    return ""


def _sum(rows: Sequence[Evidence]) -> float:
    return sum(abs(row.weight) for row in rows)


def _joined(sentences: Sequence[str]) -> str:
    """Joins several sentences to one."""
    parts = [sentence.rstrip(".") for sentence in sentences]
    return "; ".join(part[:1].lower() + part[1:] for part in parts) + "."


def recommendations(
    evidence: Sequence[Evidence], verdict: Verdict, photographs: Photographs, match: Match
) -> list[str]:
    """Advice for the user: what is missing, which photograph or catalogue picture would help, and what to do
    at home."""
    advice = list(photographs.notes)
    if verdict is Verdict.NOT_A_PIN:
        return [
            *advice,
            "Photograph one pin from the front, close up, on a plain surface of a different colour.",
        ]
    if photographs.front.pin is None:
        advice.append(f"Front: {photographs.front.pin_problem}")
    if photographs.back is None:
        advice.append("Photograph the back straight on: its pattern and its stamp tell the most.")
    elif photographs.back.pin is None:
        advice.append(f"Back: {photographs.back.pin_problem}")
    else:
        unread = any(
            row.name == "stamp_consistency" and row.finding in (stamp_text.UNREAD, stamp_text.UNCLEAR)
            for row in evidence
        )
        if unread and photographs.back.quality.short_side < SUFFICIENT_SIDE_PIXELS:
            advice.append(
                "The stamp could not be read. Photograph the back from closer, so that the pin is at least "
                f"{SUFFICIENT_SIDE_PIXELS} pixels across."
            )
        if gates.has_glare(photographs.back):
            advice.append("A reflection covers part of the back: photograph it with the light from the side.")
    if photographs.angled is None:
        advice.append(TILTED_ADVICE)
    if match.pin is None:
        advice.append(f"{NOT_COMPARED_ADVICE} {match.reason}".strip())
    else:
        sides = (
            (View.FRONT, photographs.front, photographs.front_comparison),
            (View.BACK, photographs.back, photographs.back_comparison),
        )
        for view, photograph, comparison in sides:
            if view not in match.references:
                advice.append(MISSING_PICTURE_ADVICE[view])
            elif not match.references[view].outlined:
                advice.append(NOT_OUTLINED_ADVICE.format(view=view))
            elif photograph is not None and photograph.pin is not None and comparison is None:
                advice.append(NOT_REGISTERED_ADVICE.format(view=view))
    if verdict is not Verdict.AUTHENTIC:
        advice.append(WEIGHING_ADVICE)
    return advice


def asks_to_photograph_again(advice: str) -> bool:
    """Whether a sentence of `recommendations` asks for the front or back again, or says why a photograph was
    not used; not what to do at home, add to the photographs or to the catalogue."""
    return not advice.startswith(_ASKS_FOR_NO_REPEAT)
