"""Which of the photographs are judged, each registered on its catalogue picture."""

from __future__ import annotations

from dataclasses import dataclass

from pinactors.analysis.evidence import fitting, gates
from pinactors.analysis.evidence.comparison import (
    SURE_EDGE_CORRELATION,
    Comparison,
    Target,
    compare,
    edge_agreement,
)
from pinactors.analysis.model import Match, Matrix, PreparedView, Reference
from pinactors.analysis.segmentation import prepare
from pinactors.protocol import View

MIN_EDGE_AGREEMENT = 0.45
"""Least agreement of edges from which a photograph shows the drawing of a picture of the front. Below it, the
outline may fit although the drawing does not, because of another rotation, another pin or the other side."""


@dataclass(frozen=True, slots=True)
class Photographs:
    """The photographs from which evidence is measured, with their comparisons. `back` and `angled` are None
    if they were not sent or cannot belong to this pin; `notes` tell the user which and why."""

    front: PreparedView
    back: PreparedView | None
    angled: PreparedView | None
    front_comparison: Comparison | None
    back_comparison: Comparison | None
    angled_comparison: Comparison | None = None
    notes: tuple[str, ...] = ()


def arrange(
    front: PreparedView, back: PreparedView | None, angled: PreparedView | None, match: Match
) -> Photographs:
    """Applies the gates and registers the photographs on the catalogue pictures of the identified pin."""
    notes: list[str] = []
    if back is not None and gates.same_picture(front, back):
        notes.append("The same photograph was sent as front and back, so the back was not judged.")
        back = None
    front_comparison = back_comparison = angled_comparison = picture = None
    if match.pin is not None:
        if View.FRONT in match.references and match.references[View.FRONT].outlined:
            picture = Target(match.references[View.FRONT])
            front_comparison = _by_own_outline(
                front, picture, _verified(front, picture, _search_registration(front, match))
            )
            if front_comparison is not None:
                front = front_comparison.view  # its edge is judged along the outline that fits
        if back is not None and View.BACK in match.references and match.references[View.BACK].outlined:
            back_comparison = compare(
                back, Target(match.references[View.BACK]), _search_registration(back, match)
            )
    drawing = picture
    if drawing is None and front.pin is not None:
        drawing = Target(Reference(View.FRONT, front.pin.rgb, front.pin.crop_mask))
    if back is not None and drawing is not None and _shows_front(back, back_comparison, drawing):
        notes.append("The photograph sent as back shows the front, so the back was not judged.")
        back = back_comparison = None
    # Only now: a tilted photograph that was sent as back too is still the tilted one.
    if angled is not None and any(other and gates.same_picture(other, angled) for other in (front, back)):
        notes.append("The tilted photograph is the same as another one, so it was not used.")
        angled = None
    if angled is not None and picture is not None:
        angled_comparison = _verified(angled, picture, _search_registration(angled, match))
    if back is not None and back_comparison is None:
        overlap = gates.mirror_overlap(front, back)
        if overlap is not None and overlap < gates.MIRRORED_OUTLINE_OVERLAP:
            notes.append(
                f"The outlines of front and back match by only {overlap:.0%}, so the back was not used: "
                "they may be two different pins."
            )
            back = None
    return Photographs(
        front, back, angled, front_comparison, back_comparison, angled_comparison, tuple(notes)
    )


def _shows_front(back: PreparedView, comparison: Comparison | None, picture: Target) -> bool:
    """Whether the photograph sent as back shows the front's drawing, as `picture` does. `comparison` is that
    with the catalogue's back; if the edges of the two agree, the photograph shows the back."""
    if back.pin is None or (
        comparison is not None and comparison.agreement >= fitting.SUFFICIENT_EDGE_CORRELATION
    ):
        return False
    return edge_agreement(back.pin, picture) >= MIN_EDGE_AGREEMENT


def _search_registration(view: PreparedView, match: Match) -> Matrix | None:
    """The search's registration of a view on the identified pin's picture: working to its crop pixels."""
    registered = view.pin.registered if view.pin is not None else None
    if registered is not None and registered.pin_id == match.candidates[0].pin.pin_id:
        return registered.to_reference
    return match.candidates[0].to_reference.get(view.view)


def _verified(view: PreparedView, picture: Target, start: Matrix | None) -> Comparison | None:
    """The front or tilted photograph registered on the catalogue picture; None if the drawings differ."""
    comparison = compare(view, picture, start)
    return comparison if comparison is not None and comparison.agreement >= MIN_EDGE_AGREEMENT else None


def _by_own_outline(front: PreparedView, picture: Target, comparison: Comparison | None) -> Comparison | None:
    """The comparison or, if its edges hardly agree, one of the front cut out and registered by its pixels
    alone, if the edges of that agree clearly better. A front that the search registered is cut out along the
    catalogue's outline, so that its silhouette confirms whatever the search found. The tilted view only adds
    to the front and is not worth the time (0.1 s)."""
    agreement = comparison.agreement if comparison is not None else 0.0
    if front.pin is None or front.pin.registered is None or agreement >= SURE_EDGE_CORRELATION:
        return comparison
    anew = _verified(prepare.cut_out_again(front), picture, None)
    better = anew is not None and anew.agreement >= agreement + fitting.ROTATION_MARGIN
    return anew if better else comparison
