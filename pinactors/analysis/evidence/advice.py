"""Puts a verdict in words: which rows counted most, and which photograph or catalogue picture is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pinactors.analysis.evidence import gates
from pinactors.analysis.evidence.comparison import Comparison
from pinactors.analysis.model import Match, PreparedView
from pinactors.protocol import Evidence, Verdict, View

STAMP_SIDE = 600
"""Pixels across the pin that reading a stamp requires."""

NAMED_FROM_LOG10 = 0.1
"""Log10 likelihood ratio, for or against, from which a row is named in the summary: a factor of 1.25."""

MOST_ROWS_NAMED = 2
"""Largest number of rows that are named for, and against, the pin."""

WEIGH_IT = (
    "At home: weigh it and hold it beside one bought from a shop. "
    "No photograph shows weight, feel or magnetism."
)

LACKING = {
    View.FRONT: (
        "The catalogue has no picture of this pin's front. With one, drawing, colours and proportions could "
        "be compared."
    ),
    View.BACK: (
        "The catalogue has no picture of this pin's back. With one, pattern and stamp could be compared."
    ),
}
"""Advice if the catalogue lacks a picture of the identified pin."""

WHOLE = (
    "The catalogue's picture of this pin's {view} was not compared, because the pin does not stand out from "
    "its background. A cut-out, or a picture on a plain background, could be compared."
)

OPENING = {
    Verdict.AUTHENTIC: "Looks genuine.",
    Verdict.COUNTERFEIT: "Looks counterfeit.",
    Verdict.UNDETERMINED: "Not decided.",
    Verdict.NOT_A_PIN: "No pin was found.",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """The photographs from which evidence is measured, with their comparisons. `back` and `angled` are None
    if they were not sent or cannot belong to this pin; `notes` tell the user which and why."""

    front: PreparedView
    back: PreparedView | None
    angled: PreparedView | None
    front_seen: Comparison | None
    back_seen: Comparison | None
    angled_seen: Comparison | None = None
    notes: tuple[str, ...] = ()


def summary(
    evidence: Sequence[Evidence], verdict: Verdict, scene: Scene, match: Match, *, barred: bool
) -> str:
    """The verdict in a few sentences: the side that counted more first, each side with its heaviest rows.

    `evidence` is in the packet's order, heaviest first. `barred` is True if one row alone prevented the
    verdict `authentic`.
    """
    said = [OPENING[verdict]]
    if verdict is Verdict.NOT_A_PIN:
        return said[0]
    if verdict is Verdict.UNDETERMINED:
        said.append(_why_open(scene, match, barred=barred))
    against = [row for row in evidence if row.weight <= -NAMED_FROM_LOG10]
    favour = [row for row in evidence if row.weight >= NAMED_FROM_LOG10]
    sides = [("Against it", against), ("For it", favour)]
    if verdict is not Verdict.COUNTERFEIT and (verdict is Verdict.AUTHENTIC or _sum(favour) > _sum(against)):
        sides.reverse()
    for title, rows in sides:
        if rows:
            said.append(f"{title}: {_joined([row.finding for row in rows[:MOST_ROWS_NAMED]])}")
    if not against and not favour:
        said.append("Nothing in the photographs counts much for or against it.")
    return " ".join(filter(None, said))


def _why_open(scene: Scene, match: Match, *, barred: bool) -> str:
    if barred:
        return "A single finding against it keeps it from being called genuine."
    if scene.back is None or scene.back.pin is None:
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


def what_would_settle_it(
    evidence: Sequence[Evidence], verdict: Verdict, scene: Scene, match: Match
) -> list[str]:
    """Advice for the user: what is missing, which photograph or catalogue picture would help, and what to do
    at home."""
    advice = list(scene.notes)
    if verdict is Verdict.NOT_A_PIN:
        return [
            *advice,
            "Photograph one pin from the front, close up, on a plain surface of a different colour.",
        ]
    if scene.front.pin is None:
        advice.append(f"Front: {scene.front.pin_problem}")
    if scene.back is None:
        advice.append("Photograph the back straight on: its pattern and its stamp tell the most.")
    elif scene.back.pin is None:
        advice.append(f"Back: {scene.back.pin_problem}")
    else:
        unread = any(row.name == "stamp_consistency" and not row.assessed for row in evidence)
        if unread and scene.back.quality.short_side < STAMP_SIDE:
            advice.append(
                "The stamp could not be read. Photograph the back from closer, so that the pin is at least "
                f"{STAMP_SIDE} pixels across."
            )
        if gates.glaring(scene.back):
            advice.append("A reflection covers part of the back: photograph it with the light from the side.")
    if scene.angled is None:
        advice.append(
            "Add a photograph of the pin tilted under a lamp: it shows how the enamel fills the metal."
        )
    if match.pin is None:
        advice.append(f"Not compared with a catalogue picture. {match.reason}".strip())
    else:
        for view, lacking in LACKING.items():
            if view not in match.references:
                advice.append(lacking)
            elif not match.references[view].outlined:
                advice.append(WHOLE.format(view=view))
    if verdict is not Verdict.AUTHENTIC:
        advice.append(WEIGH_IT)
    return advice
