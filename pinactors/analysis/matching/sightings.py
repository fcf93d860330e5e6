"""The catalogue's pins as found in one photograph: candidates by votes, registered, compared, ranked.

`look` finds the pins a photograph is most likely of, `look_everywhere` all pins of a photograph of many.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import crop_transform, warp_crop
from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import (
    alignment,
    keypoints,
    likeness,
    probability,
    reranking,
    verification,
)
from pinactors.analysis.matching.inverted_index import InvertedIndex
from pinactors.analysis.matching.keypoints import Features, joined
from pinactors.analysis.matching.reranking import Candidate, Comparison
from pinactors.analysis.matching.verification import Registration
from pinactors.analysis.model import CatalogPin, Image, Matrix, Reference, Sale
from pinactors.analysis.segmentation import outline
from pinactors.protocol import View

PHOTOGRAPH_SIDES = 600, 400
PHOTOGRAPH_FEATURES = 1800
"""Sides to which a photograph is reduced for its features of lightness and colour, and how many it has."""

BOARD_SIDES, BOARD_FEATURES = (1600, 960), 8000
"""The same for a photograph of many pins, each of which is small in it."""
PARTS, PART = 4, 0.36
"""Overlapping parts each way in which such a photograph is searched, and the share of it each spans."""
BOARD_VOTED, BOARD_SUPPORT = 12, 0.3
"""Candidates verified in each part, and the support from which they are compared with it."""

REGION_MARGIN = 0.15
"""How far beyond each side of a region, in its sizes, a pin may reach: people tap roughly."""

MOST_ALIGNED = 8
"""Candidates aligned by their outlines where features alone did not decide."""

VOTED, COMPARED = 15, 4
"""Candidates that are verified, and of those registered how many are compared with the photograph."""
CLAIM_PROBABILITY = 0.35
"""Probability from which a pin is claimed. The model is cautious in the middle: out of fold, what it gave .35
to .75 was right 17 times of 20 on real photographs, and what it gave less hardly ever."""
CLAIM_ODDS = math.log(CLAIM_PROBABILITY / (1 - CLAIM_PROBABILITY))
PROOF, UNPROVEN = 8, -1.0
"""Features found from which a pin may be likely, and the log odds of one with fewer at most: four pairs fit
any homography. The right pins claimed on real photographs had 18 and more; a plain disc fits every coin."""
BESIDE_ODDS = 0.0
"""Log odds from which a pin is listed beside others."""
SAME_PLACE = 0.3
"""Intersection over union of two outlines from which they are the same pin's."""
RIVAL_LOG_ODDS = 5.0
"""Log odds behind the best up to which a pin in the same place is its rival."""

Region = tuple[float, float, float, float]
"""x, y, width, height as shares of the upright photograph."""


class Source(Protocol):
    """The catalogue as a search needs it; pins are known by number."""

    version: str
    size: int
    demonstration: bool
    outdated: bool
    index: InvertedIndex | None

    def candidates(self, numbers: Collection[int]) -> dict[int, Candidate]: ...
    def numbered(self, numbers: Iterable[int]) -> dict[int, CatalogPin]: ...
    def number(self, pin_id: str) -> int | None: ...
    def by_code(self, factory_key: str) -> list[int]: ...
    def reference(self, pin_id: str, view: View) -> Reference | None: ...
    def sales(self, pin_id: str) -> tuple[Sale, ...]: ...
    def rates(self) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """A catalogue pin as found in a photograph. `odds` are natural log odds that it is there, `outline` (n,
    2) and `to_photo` (3x3, from the candidate's crop) are in the photograph's pixels."""

    candidate: Candidate
    odds: float
    inliers: int
    to_photo: Matrix
    outline: npt.NDArray[np.float64]
    comparison: Comparison


def features(rgb: Image) -> Features:
    """Those a photograph is searched by."""
    return keypoints.extract(rgb, None, PHOTOGRAPH_SIDES, PHOTOGRAPH_FEATURES)


def look(
    source: Source,
    rgb: Image,
    also: Collection[int] = (),
    region: Region | None = None,
    query: Features | None = None,
) -> list[Sighting]:
    """The catalogue pins found in a photograph, likeliest first, those inside `region` before all others;
    pins numbered `also` are tried in any case, before the others. Rivals for one place have been compared
    where their pictures differ. `query` are the photograph's `features`, where they have been taken already.
    """
    if source.index is None:
        return []
    if query is None:
        query = features(rgb)
    if region is not None:
        query = joined(query, _within(rgb, region))
    numbers = source.index.votes(query).numbers[:VOTED]
    return compared(source, rgb, query, [*also, *(int(number) for number in numbers)], region)


def compared(
    source: Source, rgb: Image, query: Features, numbers: Sequence[int], region: Region | None
) -> list[Sighting]:
    """Those of the pins `numbers` that are registered on the photograph, as `look` returns them."""
    chosen = [*dict.fromkeys(numbers)]
    candidates = source.candidates(chosen)
    registered: list[tuple[float, Candidate, Registration]] = []
    for candidate in candidates.values():
        found = verification.register(query, candidate.features)
        if found is not None:
            registered.append((_support(candidate, found), candidate, found))
    registered.sort(key=lambda one: -one[0])
    seen = _sightings(rgb, query, [(candidate, found) for _, candidate, found in registered[:COMPARED]])
    if all(one.odds < CLAIM_ODDS for one in seen):
        by_outline = _by_outline(rgb, [candidates[number] for number in chosen if number in candidates])
        better = {one.candidate.number: one for one in seen}
        for one in _sightings(rgb, query, by_outline):
            number = one.candidate.number
            if number not in better or one.odds > better[number].odds:
                better[number] = one
        seen = list(better.values())
    seen.sort(key=lambda one: (not _inside(one, region, rgb), -one.odds))
    return _rivals_compared(seen)


def _sightings(
    rgb: Image, query: Features, registered: Sequence[tuple[Candidate, Registration]]
) -> list[Sighting]:
    seen = []
    for candidate, found in registered:
        with contextlib.suppress(LookupError):  # an import replaces pins while searches run
            seen.append(_sighting(rgb, query, candidate, found))
    return seen


def _by_outline(rgb: Image, candidates: Sequence[Candidate]) -> list[tuple[Candidate, Registration]]:
    """The candidates that fit best on the pin as cut out by the pixels alone: smooth pins, and strong
    reflections, leave few features that agree, but an outline and fields of colour."""
    found = outline.segment(rgb)
    if found.mask is None:
        return []
    to_crop = crop_transform(found.outline)
    portrait = Portrait.of(*warp_crop(rgb, found.mask, to_crop))
    fits = []
    for candidate in [one for one in candidates if one.outlined][:MOST_ALIGNED]:
        with contextlib.suppress(LookupError):
            aligned = alignment.register(portrait, candidate.portrait)
            to_photo = np.asarray(np.linalg.inv(to_crop) @ aligned.to_query, np.float64)
            if verification.plausible(to_photo, candidate.outline):
                fits.append((aligned.cost, candidate, verification.unpaired(to_photo)))
    fits.sort(key=lambda fit: fit[0])
    return [(candidate, registration) for _, candidate, registration in fits[:COMPARED]]


def look_everywhere(source: Source, rgb: Image) -> list[Sighting]:
    """All catalogue pins found in a photograph of many, likeliest first, no two in the same place."""
    if source.index is None:
        return []
    query = keypoints.extract(rgb, None, BOARD_SIDES, BOARD_FEATURES)
    best: dict[int, tuple[float, Candidate, Registration]] = {}
    for part in _parts(query, rgb):
        here = query.take(part)
        numbers = [int(number) for number in source.index.votes(here).numbers[:BOARD_VOTED]]
        for candidate in source.candidates(numbers).values():
            found = verification.register(here, candidate.features)
            if found is None:
                continue
            support = _support(candidate, found)
            if support >= max(BOARD_SUPPORT, best.get(candidate.number, (0.0,))[0]):
                found = dataclasses.replace(found, query=part[found.query])
                best[candidate.number] = support, candidate, found
    seen = _sightings(rgb, query, [(candidate, found) for _, candidate, found in best.values()])
    return apart(sorted(seen, key=lambda one: -one.odds))


def _parts(query: Features, rgb: Image) -> list[npt.NDArray[np.intp]]:
    """Indices of the features in each of overlapping parts of a photograph: beside two dozen others a pin has
    too small a share of the votes and pairs."""
    places = query.points / np.array([rgb.shape[1], rgb.shape[0]], np.float32)
    starts = np.linspace(0, 1 - PART, PARTS)
    return [
        np.flatnonzero(((places >= (x, y)) & (places <= (x + PART, y + PART))).all(1))
        for y in starts
        for x in starts
    ]


def apart(seen: Sequence[Sighting]) -> list[Sighting]:
    """Those that are likelier than not, without those in the place of a likelier one."""
    kept: list[Sighting] = []
    for one in seen:
        if one.odds >= CLAIM_ODDS and all(overlap(one.outline, other.outline) < SAME_PLACE for other in kept):
            kept.append(one)
    return kept


def _support(candidate: Candidate, found: Registration) -> float:
    """What the features found weigh, by how distinctive and how alike they are."""
    return float((candidate.weights[found.reference] * np.square(found.alike - 0.5)).sum())


def _within(rgb: Image, region: Region) -> Features:
    """Features of what lies in and around a region, seen closer, in the photograph's pixels."""
    height, width = rgb.shape[:2]
    x, y, across, down = region
    left, right = max(0.0, x - across * REGION_MARGIN), min(1.0, x + across * (1 + REGION_MARGIN))
    top, bottom = max(0.0, y - down * REGION_MARGIN), min(1.0, y + down * (1 + REGION_MARGIN))
    window = rgb[int(top * height) : int(bottom * height) + 1, int(left * width) : int(right * width) + 1]
    shift = np.array([[1, 0, int(left * width)], [0, 1, int(top * height)], [0, 0, 1]], np.float64)
    return features(np.ascontiguousarray(window)).moved(shift)


def _inside(sighting: Sighting, region: Region | None, rgb: Image) -> bool:
    """Whether a sighting could be what a region points at: likely, its middle inside."""
    if region is None or sighting.odds < 0:
        return False
    x, y = sighting.outline.mean(0) / (rgb.shape[1], rgb.shape[0])
    return bool(region[0] <= x <= region[0] + region[2] and region[1] <= y <= region[1] + region[3])


def _sighting(rgb: Image, query: Features, candidate: Candidate, found: Registration) -> Sighting:
    compared = reranking.compare(rgb, query, candidate, found)
    to_photo = compared.registration.to_photo
    outline = cv2.perspectiveTransform(candidate.outline[None], to_photo)[0]
    odds = probability.log_odds(compared.agreement, candidate.outlined)
    inliers = len(compared.registration.query)
    if inliers < PROOF:
        odds = min(odds, UNPROVEN)
    return Sighting(candidate, odds, inliers, to_photo, np.asarray(outline, np.float64), compared)


def _rivals_compared(seen: list[Sighting]) -> list[Sighting]:
    """Sightings, likeliest first, rivals of the best having been compared with it where the two pins'
    pictures differ: the one the photograph resembles less there falls back."""
    if not seen:
        return seen
    best, *rest = seen
    others = []
    for rival in rest:
        if best.odds - rival.odds < RIVAL_LOG_ODDS and overlap(best.outline, rival.outline) > SAME_PLACE:
            between = np.linalg.inv(best.to_photo) @ rival.to_photo @ rival.comparison.to_portrait
            odds = likeness.compare_differences(
                best.comparison.portrait,
                best.candidate.portrait,
                rival.candidate.portrait,
                best.comparison.to_portrait,
                between,
            )
            if odds > 0:
                rival = dataclasses.replace(rival, odds=rival.odds - odds)
            else:
                best = dataclasses.replace(best, odds=best.odds + odds)
            if rival.odds > best.odds:
                best, rival = rival, best
        others.append(rival)
    return sorted([best, *others], key=lambda one: -one.odds)


def overlap(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Intersection over union of what two outlines enclose, taken as convex."""
    first, second = (cv2.convexHull(outline.astype(np.float32)) for outline in (one, other))
    shared, _ = cv2.intersectConvexConvex(first, second)
    return float(shared / max(cv2.contourArea(first) + cv2.contourArea(second) - shared, 1e-6))


def box_of(sighting: Sighting, rgb: Image) -> tuple[float, float, float, float]:
    """x, y, width, height of a sighting as shares of the photograph: around its outline or, where the
    catalogue's is only the middle of a picture, around the features found within that."""
    size = np.array([rgb.shape[1], rgb.shape[0]])
    low, high = sighting.outline.min(0), sighting.outline.max(0)
    found = sighting.comparison.registration.reference
    if not sighting.candidate.outlined and len(found) >= PROOF:
        known = sighting.candidate.features.take(found)
        reach = known.sizes[:, None] / 2
        ends = np.concatenate([known.points - reach, known.points + reach]).astype(np.float64)
        there = cv2.perspectiveTransform(ends[None], sighting.to_photo)[0]
        low, high = np.maximum(low, there.min(0)), np.minimum(high, there.max(0))
    low, high = np.clip(low / size, 0, 1), np.clip(high / size, 0, 1)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])
