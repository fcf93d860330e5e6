"""Finds the catalogue pins that a photograph most likely shows: candidates are voted for, registered,
compared and ranked. `boards` finds all pins in a photograph of many.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
from pinactors.analysis.matching.keypoints import Features, concatenated
from pinactors.analysis.matching.reranking import CandidateComparison, CandidateFront
from pinactors.analysis.matching.verification import Registration
from pinactors.analysis.model import CatalogPin, CatalogSale, Doubles, Image, Matrix, Reference
from pinactors.analysis.segmentation import outline
from pinactors.analysis.segmentation.outline import Segmentation
from pinactors.protocol import View

PHOTOGRAPH_SIDES = 600, 400
PHOTOGRAPH_FEATURES = 1800
"""Sides to which a photograph is reduced for features of lightness and of colour, and the number of
features."""

REGION_MARGIN = 0.15
"""Margin added on each side of a region, as a share of its size: users tap imprecisely."""

SMALL_PIN_SHARE = 0.5
"""Share of the photograph's longer side below which a cut-out pin is small: it has less than half of the
pixels in each direction that the same photograph would show of a pin that fills it."""

MAX_ALIGNED = 8
"""Number of candidates aligned by their outlines if features alone gave no claim."""

MAX_VERIFIED, MAX_COMPARED = 15, 4
"""Number of candidates that are verified, and how many of the registered ones are compared with the
photograph."""
CLAIM_PROBABILITY = 0.35
"""Probability from which a pin is claimed. The model underestimates medium probabilities: on real
photographs, out of fold, pins with .35 to .75 were right 17 times of 20, and pins with less hardly ever."""
CLAIM_ODDS = math.log(CLAIM_PROBABILITY / (1 - CLAIM_PROBABILITY))
PROOF_INLIERS, UNPROVEN_ODDS = 8, -1.0
"""Number of different inliers from which the log odds are not bounded, and the bound of the log odds with
fewer: four pairs fit any homography. The rightly claimed pins on real photographs had at least 18 inliers; of
32 such pins each had more than 100 different ones. A plain disc, which fits every coin, has 5."""
SAME_COSINE = 0.9
"""Similarity from which two features of one picture are the same: all pieces of a circle are, wherever they
lie, so that they do not tell how a pin is turned."""
FURTHER_PIN_ODDS = 0.0
"""Log odds from which a pin is listed beside others."""
SAME_PLACE_OVERLAP = 0.3
"""Intersection over union of two outlines from which they belong to the same pin."""
RIVAL_LOG_ODDS = 5.0
"""A pin in the same place as the best is its rival if its log odds are less than this below the best's."""

Region = tuple[float, float, float, float]
"""A box in a photograph: x, y, width, height as shares of the upright photograph."""


class CatalogSource(Protocol):
    """The interface to the catalogue that a search needs; pins are identified by number."""

    version: str
    size: int
    demonstration: bool
    outdated: bool
    index: InvertedIndex | None

    def candidates(self, numbers: Collection[int]) -> dict[int, CandidateFront]: ...
    def numbered(self, numbers: Iterable[int]) -> dict[int, CatalogPin]: ...
    def number(self, pin_id: str) -> int | None: ...
    def by_code(self, factory_key: str) -> list[int]: ...
    def reference(self, pin_id: str, view: View) -> Reference | None: ...
    def sales(self, pin_id: str) -> tuple[CatalogSale, ...]: ...
    def rates(self) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """A catalogue pin found in a photograph. `odds` are the natural log odds that it is there, `outline` (n,
    2) is in the photograph's pixels, and `to_photo` (3x3) maps the candidate's crop pixels to them."""

    candidate: CandidateFront
    odds: float
    inliers: int
    to_photo: Matrix
    outline: Doubles
    comparison: CandidateComparison

    @property
    def probability(self) -> float:
        return 1 / (1 + math.exp(-self.odds))


def features(rgb: Image) -> Features:
    """The features of a photograph with which the catalogue is searched."""
    return keypoints.extract(rgb, None, PHOTOGRAPH_SIDES, PHOTOGRAPH_FEATURES)


def find_pins(
    source: CatalogSource,
    rgb: Image,
    also: Collection[int] = (),
    region: Region | None = None,
    query: Features | None = None,
) -> list[Sighting]:
    """The catalogue pins found in a photograph, likeliest first, those inside `region` before all others.

    The pins numbered `also` are always tried, before those with votes. If the whole photograph gives no
    claim and the pin that is cut out by the pixels is small, the part around it is searched like a photograph
    of its own: there the pin has more features, and its background no votes. Rivals for the best pin's place
    have been compared with it where their pictures differ. `query` are the photograph's `features`, if they
    are computed already.
    """
    if source.index is None:
        return []
    if query is None:
        query = features(rgb)
    if region is not None:
        query = concatenated(query, _region_features(rgb, region))
    candidates = source.candidates([*also, *most_voted(source.index, query)])
    seen = _registered(rgb, query, candidates.values())
    if _none_claimed(seen) and (segmented := outline.segment(rgb)).mask is not None:
        if max(np.ptp(segmented.outline, axis=0)) < SMALL_PIN_SHARE * max(rgb.shape[:2]):
            closer = _region_features(rgb, _as_region(segmented.outline, rgb))
            candidates = source.candidates([*also, *most_voted(source.index, closer)]) | candidates
            seen += _registered(rgb, closer, candidates.values())
        seen += _aligned_by_outline(rgb, query, candidates.values(), segmented)
    return _ranked(seen, region, rgb)


def compare_candidates(
    source: CatalogSource, rgb: Image, query: Features, numbers: Sequence[int]
) -> list[Sighting]:
    """The pins among `numbers` that can be registered on the photograph, likeliest first."""
    candidates = source.candidates(numbers)
    seen = _registered(rgb, query, candidates.values())
    if _none_claimed(seen) and (segmented := outline.segment(rgb)).mask is not None:
        seen += _aligned_by_outline(rgb, query, candidates.values(), segmented)
    return _ranked(seen, None, rgb)


def most_voted(index: InvertedIndex, query: Features, count: int = MAX_VERIFIED) -> list[int]:
    """The numbers of the `count` pins with most votes, the most voted first."""
    return [int(number) for number in index.votes(query).numbers[:count]]


def _registered(rgb: Image, query: Features, candidates: Iterable[CandidateFront]) -> list[Sighting]:
    """The best of the candidates that are registered by their features."""
    registered: list[tuple[float, CandidateFront, Registration]] = []
    for candidate in candidates:
        found = verification.register(query, candidate.features)
        if found is not None:
            registered.append((support(candidate, found), candidate, found))
    registered.sort(key=lambda one: -one[0])
    return sightings_of(rgb, query, [(candidate, found) for _, candidate, found in registered[:MAX_COMPARED]])


def _none_claimed(seen: Sequence[Sighting]) -> bool:
    return all(one.odds < CLAIM_ODDS for one in seen)


def _ranked(seen: Sequence[Sighting], region: Region | None, rgb: Image) -> list[Sighting]:
    """The best sighting of each pin, in the order of `find_pins`."""
    best: dict[int, Sighting] = {}
    for one in sorted(seen, key=lambda one: (not _is_in_region(one, region, rgb), -one.odds)):
        best.setdefault(one.candidate.number, one)
    return _compare_rivals([*best.values()])


def sightings_of(
    rgb: Image, query: Features, registered: Sequence[tuple[CandidateFront, Registration]]
) -> list[Sighting]:
    """The registered candidates after their comparison with the photograph, in the same order."""
    seen = []
    for candidate, found in registered:
        with contextlib.suppress(LookupError):  # an import replaces pins while searches run
            seen.append(_sighting(rgb, query, candidate, found))
    return seen


def _aligned_by_outline(
    rgb: Image, query: Features, candidates: Iterable[CandidateFront], segmented: Segmentation
) -> list[Sighting]:
    """The candidates that align best with the pin cut out by the pixels alone: with smooth pins and strong
    reflections few features agree, but the outline and the fields of colour still do."""
    assert segmented.mask is not None
    to_crop = crop_transform(segmented.outline)
    portrait = Portrait.of(*warp_crop(rgb, segmented.mask, to_crop))
    fits = []
    for candidate in [one for one in candidates if one.outlined][:MAX_ALIGNED]:
        with contextlib.suppress(LookupError):
            aligned = alignment.register(portrait, candidate.portrait)
            to_photo = np.asarray(np.linalg.inv(to_crop) @ aligned.to_query, np.float64)
            if verification.plausible(to_photo, candidate.outline):
                fits.append((aligned.cost, candidate, verification.without_pairs(to_photo)))
    fits.sort(key=lambda fit: fit[0])
    return sightings_of(rgb, query, [(candidate, found) for _, candidate, found in fits[:MAX_COMPARED]])


def support(candidate: CandidateFront, found: Registration) -> float:
    """The weight of the found features, each by its distinctiveness and similarity."""
    return float((candidate.weights[found.reference] * np.square(found.cosines - 0.5)).sum())


def _as_region(points: npt.NDArray[np.floating[Any]], rgb: Image) -> Region:
    """The box around points (n, 2) of a photograph."""
    size = np.array([rgb.shape[1], rgb.shape[0]])
    low, high = np.clip(points.min(0) / size, 0, 1), np.clip(points.max(0) / size, 0, 1)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def _region_features(rgb: Image, region: Region) -> Features:
    """Features in and around a region, extracted at a higher resolution, in the photograph's pixels."""
    height, width = rgb.shape[:2]
    x, y, across, down = region
    left, right = max(0.0, x - across * REGION_MARGIN), min(1.0, x + across * (1 + REGION_MARGIN))
    top, bottom = max(0.0, y - down * REGION_MARGIN), min(1.0, y + down * (1 + REGION_MARGIN))
    window = rgb[int(top * height) : int(bottom * height) + 1, int(left * width) : int(right * width) + 1]
    shift = np.array([[1, 0, int(left * width)], [0, 1, int(top * height)], [0, 0, 1]], np.float64)
    return features(np.ascontiguousarray(window)).moved(shift)


def _is_in_region(sighting: Sighting, region: Region | None, rgb: Image) -> bool:
    """Whether a region may mean this sighting: its log odds are at least 0 and its middle is inside."""
    if region is None or sighting.odds < 0:
        return False
    x, y = sighting.outline.mean(0) / (rgb.shape[1], rgb.shape[0])
    return bool(region[0] <= x <= region[0] + region[2] and region[1] <= y <= region[1] + region[3])


def _sighting(rgb: Image, query: Features, candidate: CandidateFront, found: Registration) -> Sighting:
    comparison = reranking.compare(rgb, query, candidate, found)
    to_photo = comparison.registration.to_photo
    in_photo = cv2.perspectiveTransform(candidate.outline[None], to_photo)[0]
    odds = probability.log_odds(comparison.agreement, candidate.outlined)
    inliers = len(comparison.registration.query)
    if not _proves(candidate.features.take(comparison.registration.reference)):
        odds = min(odds, UNPROVEN_ODDS)
    return Sighting(candidate, odds, inliers, to_photo, np.asarray(in_photo, np.float64), comparison)


def _proves(found: Features) -> bool:
    """Whether there are `PROOF_INLIERS` features of which no two are the same."""
    left = np.arange(len(found))
    for _ in range(PROOF_INLIERS):
        if not len(left):
            return False
        first, left = left[0], left[1:]
        same = found.descriptors[left] @ found.descriptors[first] > SAME_COSINE
        left = left[~(same & (found.axes[left] == found.axes[first]))]
    return True


def _compare_rivals(seen: list[Sighting]) -> list[Sighting]:
    """The sightings, likeliest first, after each rival of the best was compared with it where the two pins'
    pictures differ: the one that the photograph resembles less there loses log odds."""
    if not seen:
        return seen
    best, *rest = seen
    others = []
    for rival in rest:
        if (
            best.odds - rival.odds < RIVAL_LOG_ODDS
            and overlap(best.outline, rival.outline) > SAME_PLACE_OVERLAP
        ):
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


def overlap(first_outline: Doubles, second_outline: Doubles) -> float:
    """Intersection over union of the convex hulls of two outlines."""
    first, second = (cv2.convexHull(points.astype(np.float32)) for points in (first_outline, second_outline))
    shared, _ = cv2.intersectConvexConvex(first, second)
    return float(shared / max(cv2.contourArea(first) + cv2.contourArea(second) - shared, 1e-6))


def box_of(sighting: Sighting, rgb: Image) -> Region:
    """The place of a sighting: the box around its outline or, if the catalogue's mask is only the middle of a
    picture, around the features found in it."""
    low, high = sighting.outline.min(0), sighting.outline.max(0)
    found = sighting.comparison.registration.reference
    if not sighting.candidate.outlined and len(found) >= PROOF_INLIERS:
        known = sighting.candidate.features.take(found)
        reach = known.sizes[:, None] / 2
        ends = np.concatenate([known.points - reach, known.points + reach]).astype(np.float64)
        photo_ends = cv2.perspectiveTransform(ends[None], sighting.to_photo)[0]
        low, high = np.maximum(low, photo_ends.min(0)), np.minimum(high, photo_ends.max(0))
    return _as_region(np.stack([low, high]), rgb)
