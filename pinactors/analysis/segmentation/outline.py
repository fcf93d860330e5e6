"""Cuts the pin out of its background and gives the confidence in the cut.

Proposals from several cues are scored by the same measures (`proposals`, `proposal_score`); the best of them
are scored again after a graph cut (`graph_cut`). The chosen one is refined by another graph cut, and its edge
by guided filtering (He et al. 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import (
    as_floats,
    as_image,
    largest_outline,
    on_frame,
    reduced,
    window_of,
)
from pinactors.analysis.model import Floats, Image, Points
from pinactors.analysis.segmentation import graph_cut, proposal_score, proposals
from pinactors.analysis.segmentation.proposal_score import Measures
from pinactors.analysis.segmentation.proposals import Proposal, Scene, disk, to_lab
from pinactors.analysis.segmentation.shadow import cast_shadow

FINE_SIDE = 400
"""Longest side of the picture in which the outline is refined: a larger one gave no measurable gain."""

MIN_CONFIDENCE = 0.3
"""Confidence below which a cut is not accepted as a pin: a lower limit accepts more blank surfaces than it
saves pins."""

CUT_OFF_SHARE = 0.06
"""Share of the outline on the photograph's border above which part of the pin counts as outside."""

PROPOSALS_RECUT = 3
"""Largest number of proposals, mutually different, that are cut again before one is chosen."""

NEAR_BEST_LOG_ODDS = 3.0
"""A proposal whose score is further than this below the best is not cut again."""

SUFFICIENT_SUPPORT = 0.95
"""Share of the evidence on one outline from which no proposal is cut again."""

SAME_OUTLINE_OVERLAP = 0.85
"""Intersection over union from which two regions count as the same."""

NO_PIN = "Nothing in the photograph stands out from its background as a pin."
UNCLEAR_OUTLINE = (
    "Something is in the photograph, but it does not stand out clearly enough from the background. "
    "Photograph the pin on a plain surface of a different colour."
)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The result of a segmentation: `mask` (height, width; 0 or 255) and `outline` (n, 2) in the picture's
    pixels. If no pin was found, `mask` is None and `problem` tells the user why. `others` is the number of
    further pin-like objects."""

    mask: Image | None
    outline: Points
    confidence: float
    cut_off: bool
    problem: str = ""
    others: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    score: float
    proposal: Proposal
    measures: Measures


@dataclass(frozen=True, slots=True)
class RefinedRegion:
    """The chosen region (0 or 1, at the scene's size) after refinement, and the values from which its
    confidence is computed: `measures`, `agreement` (overlap with its proposal) and `support` (share of the
    evidence on that proposal)."""

    mask: Image
    measures: Measures
    agreement: float
    support: float


def segment(rgb: Image) -> Segmentation:
    """Segments the main pin of a picture. Holes are filled: cut-outs in a pin count as inside its outline."""
    fine = reduced(rgb, FINE_SIDE)
    small = reduced(fine, proposals.PICTURE_SIDE)
    if min(small.shape[:2]) < 16:
        return _not_found("The photograph is too small to find a pin in it.")
    scene = proposals.make_scene(small)
    ranked = rank(scene)
    if not ranked:
        return _not_found(NO_PIN)
    refined = refine_best(scene, ranked)
    confidence = proposal_score.confidence(refined.measures, refined.agreement, refined.support)
    if confidence < MIN_CONFIDENCE:
        return _not_found(UNCLEAR_OUTLINE, confidence)
    return _at_full_size(rgb, fine, refined.mask, confidence, _count_others(ranked))


def refine_best(scene: Scene, ranked: list[Ranked]) -> RefinedRegion:
    """The best of the ranked proposals (at least one) without its shadow, refined along its edge."""
    best = ranked[0].proposal
    shadow = cast_shadow(scene, best)
    if shadow is not None:
        best = Proposal(best.mask & (1 - shadow), best.area - cv2.countNonZero(shadow), best.source)
    refined = graph_cut.refine(scene, best, shadow)
    measures = proposal_score.measure(refined, scene)
    agreement = overlap(refined, best.mask)
    if measures is None or agreement < 0.5:  # the cut followed another edge: keep the proposal
        refined, measures = best.mask, ranked[0].measures
    return RefinedRegion(refined, measures, agreement, _support(ranked))


def segment_known(rgb: Image, known: Image, confidence: float) -> Segmentation:
    """Segments a pin that is known to lie at the mask `known` (0 or 255). The outline is moved to where the
    colours change, because a counterfeit's outline can differ from the catalogue picture's; if the moved
    outline overlaps `known` too little, `known` is kept."""
    fine = reduced(rgb, FINE_SIDE)
    small = reduced(fine, proposals.PICTURE_SIDE)
    size = small.shape[1], small.shape[0]
    mask = as_image(cv2.resize(known, size, interpolation=cv2.INTER_AREA) > 127)
    area = cv2.countNonZero(mask)
    if min(size) < 16 or not area:
        return _not_found(UNCLEAR_OUTLINE)
    refined = graph_cut.refine(proposals.make_scene(small), Proposal(mask, area, "registered"), None)
    if overlap(refined, mask) < SAME_OUTLINE_OVERLAP:
        refined = mask
    return _at_full_size(rgb, fine, refined, confidence, 0)


def _at_full_size(rgb: Image, fine: Image, chosen: Image, confidence: float, others: int) -> Segmentation:
    """The chosen region (0 or 1, at the scene's size) scaled to the picture's size, with its edge moved to
    where the colours change."""
    height, width = rgb.shape[:2]
    soft = cv2.resize(_guided_filter(fine, chosen), (width, height), interpolation=cv2.INTER_LINEAR)
    outline = largest_outline(as_image(soft > 0.5))
    if len(outline) < 8:
        return _not_found(UNCLEAR_OUTLINE, confidence)
    mask = as_image(
        cv2.drawContours(np.zeros((height, width), np.uint8), [outline.astype(np.int32)], -1, 255, -1)
    )
    cut_off = float(on_frame(outline, width, height).mean()) > CUT_OFF_SHARE
    return Segmentation(mask, outline, confidence, cut_off, others=others)


def rank(scene: Scene) -> list[Ranked]:
    """Proposals with their scores, best first. The best few are also proposed without loosely attached parts
    and, if the cues disagree, cut again along their outline."""
    found = proposals.propose(scene)
    ranked = _scored(scene, found)
    first = len(found)
    for candidate in ranked[:5]:
        for radius in (3, 6):
            opened = cv2.morphologyEx(candidate.proposal.mask, cv2.MORPH_OPEN, disk(radius))
            proposals.add_regions(as_image(opened), "opened", found, keep=1)
    ranked = _best_first(ranked + _scored(scene, found[first:]))
    if not ranked or _support(ranked) >= SUFFICIENT_SUPPORT:
        return ranked
    first = len(found)
    for candidate in _near_best(ranked):
        segmented = graph_cut.recut(scene, candidate.proposal)
        if segmented is not None:
            proposals.add_regions(segmented, "recut", found, keep=1)
    return _best_first(ranked + _scored(scene, found[first:]))


def _scored(scene: Scene, found: list[Proposal]) -> list[Ranked]:
    measured = ((proposal_score.measure(proposal.mask, scene), proposal) for proposal in found)
    scored = [Ranked(proposal_score.score(m), proposal, m) for m, proposal in measured if m is not None]
    return _best_first(scored)


def _best_first(ranked: list[Ranked]) -> list[Ranked]:
    return sorted(ranked, key=lambda candidate: -candidate.score)


def _near_best(ranked: list[Ranked]) -> list[Ranked]:
    """The best proposal, and those that score nearly as well and are not the same region as a better one."""
    chosen: list[Ranked] = []
    for candidate in ranked:
        if len(chosen) == PROPOSALS_RECUT or candidate.score < ranked[0].score - NEAR_BEST_LOG_ODDS:
            break
        if not any(_is_same(candidate, other) for other in chosen):
            chosen.append(candidate)
    return chosen


def _is_same(first: Ranked, second: Ranked) -> bool:
    return overlap(first.proposal.mask, second.proposal.mask) >= SAME_OUTLINE_OVERLAP


def _support(ranked: list[Ranked]) -> float:
    """Share of the evidence (softmax of the scores) on proposals of the same region as the best. Each
    cue counts once, so that the share measures the agreement of independent cues."""
    best = ranked[0]
    by_cue: dict[tuple[str, bool], float] = {}
    for candidate in ranked:
        cue = candidate.proposal.source, _is_same(candidate, best)
        by_cue[cue] = max(math.exp(candidate.score - best.score), by_cue.get(cue, 0.0))
    agreeing = sum(weight for (_, agrees), weight in by_cue.items() if agrees)
    return agreeing / sum(by_cue.values())


def _count_others(ranked: list[Ranked]) -> int:
    """The number of objects beside the best: disjoint, at least a quarter of its size, with a clear edge all
    round and with other colours than their surroundings. Their scores are not used, because each is lowered
    by leaving out the best object."""
    best = ranked[0].proposal
    taken = cv2.dilate(best.mask, disk(2))
    count = 0
    for candidate in ranked[1:]:
        proposal, measures = candidate.proposal, candidate.measures
        if proposal.area < 0.25 * best.area or measures.on_border > 0 or measures.solidity < 0.6:
            continue
        if measures.gaps > 0.1 or measures.contrast < 0.6:
            continue
        if cv2.countNonZero(cv2.bitwise_and(taken, proposal.mask)) > 0.05 * proposal.area:
            continue
        count += 1
        taken = cv2.bitwise_or(taken, proposal.mask)
    return count


def _guided_filter(rgb: Image, mask: Image) -> Floats:
    """`mask` (0 or 1, smaller) scaled to the size of `rgb`, its edge moved to where the colours change (0 to
    1).

    The mask is filtered with each of L*, a*, b* alone as guide, and the results are averaged, weighted by the
    share of the mask's variance that each explains: nearly as good as the full colour filter at a third of
    its cost.
    """
    height, width = rgb.shape[:2]
    soft = np.asarray(cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR))
    radius = int(4 * width / mask.shape[1])
    window = window_of((soft > 0).astype(np.uint8), 2 * radius)
    target = soft[window]
    box = (2 * radius + 1, 2 * radius + 1)
    mean_target = cv2.blur(target, box)
    total, weights = np.zeros_like(target), np.full_like(target, 1e-6)
    for channel in cv2.split(to_lab(np.ascontiguousarray(rgb[window]))):
        mean = cv2.blur(channel, box)
        covariance = cv2.blur(channel * target, box) - mean * mean_target
        slope = covariance / (cv2.blur(channel * channel, box) - mean * mean + 4.0)
        weight = cv2.blur(covariance * slope, box) + 1e-4
        local = cv2.blur(slope, box) * channel + cv2.blur(mean_target - slope * mean, box)
        total = total + weight * local
        weights = weights + weight
    soft[window] = np.clip(total / weights, 0, 1)
    return as_floats(soft)


def overlap(first: Image, second: Image) -> float:
    """Intersection over union of two masks (above 0 is inside)."""
    union = cv2.countNonZero(cv2.bitwise_or(first, second))
    return cv2.countNonZero(cv2.bitwise_and(first, second)) / max(1, union)


def _not_found(problem: str, confidence: float = 0.0) -> Segmentation:
    return Segmentation(None, np.zeros((0, 2), np.float32), confidence, False, problem)
