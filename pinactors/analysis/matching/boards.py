"""Finds all catalogue pins in a photograph of many pins, such as a board."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pinactors.analysis.matching import keypoints, verification
from pinactors.analysis.matching.keypoints import Features
from pinactors.analysis.matching.reranking import CandidateFront
from pinactors.analysis.matching.sightings import (
    CLAIM_ODDS,
    SAME_PLACE_OVERLAP,
    CatalogSource,
    Sighting,
    most_voted,
    overlap,
    sightings_of,
    support,
)
from pinactors.analysis.matching.verification import Registration
from pinactors.analysis.model import Image

SIDES, MAX_FEATURES = (1600, 960), 8000
"""Sides to which the photograph is reduced for features of lightness and of colour, and the most
features: larger than for a photograph of one pin, because each pin is small."""
PARTS_A_SIDE, PART_SHARE = 4, 0.36
"""Number of overlapping parts in each direction in which such a photograph is searched, and the share of the
photograph's side that each part spans."""
MAX_VERIFIED, MIN_SUPPORT = 12, 0.3
"""Number of candidates verified in each part, and the support from which they are compared with the
photograph."""


def find_all_pins(source: CatalogSource, rgb: Image) -> list[Sighting]:
    """All catalogue pins found in a photograph of many pins, likeliest first, no two in the same place."""
    if source.index is None:
        return []
    query = keypoints.extract(rgb, None, SIDES, MAX_FEATURES)
    best: dict[int, tuple[float, CandidateFront, Registration]] = {}
    for part in _parts(query, rgb):
        part_features = query.take(part)
        numbers = most_voted(source.index, part_features, MAX_VERIFIED)
        for candidate in source.candidates(numbers).values():
            found = verification.register(part_features, candidate.features)
            if found is None:
                continue
            weight = support(candidate, found)
            if weight >= max(MIN_SUPPORT, best.get(candidate.number, (0.0,))[0]):
                found = dataclasses.replace(found, query=part[found.query])
                best[candidate.number] = weight, candidate, found
    seen = sightings_of(rgb, query, [(candidate, found) for _, candidate, found in best.values()])
    return _without_overlapping(sorted(seen, key=lambda one: -one.odds))


def _parts(query: Features, rgb: Image) -> list[npt.NDArray[np.intp]]:
    """Indices of the features in each of the overlapping parts of a photograph. The parts are searched one by
    one because a pin among two dozen others has too small a share of the votes and pairs."""
    places = query.points / np.array([rgb.shape[1], rgb.shape[0]], np.float32)
    starts = np.linspace(0, 1 - PART_SHARE, PARTS_A_SIDE)
    return [
        np.flatnonzero(((places >= (x, y)) & (places <= (x + PART_SHARE, y + PART_SHARE))).all(1))
        for y in starts
        for x in starts
    ]


def _without_overlapping(seen: Sequence[Sighting]) -> list[Sighting]:
    """The sightings with at least `CLAIM_ODDS`, without those in the place of an earlier (likelier) one."""
    kept: list[Sighting] = []
    for sighting in seen:
        if sighting.odds >= CLAIM_ODDS and all(
            overlap(sighting.outline, other.outline) < SAME_PLACE_OVERLAP for other in kept
        ):
            kept.append(sighting)
    return kept
