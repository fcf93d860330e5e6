"""Tries pins that were suggested by name on the photograph; those that its pixels confirm become candidates.

Nothing is claimed here: a claim decides verdict and price, and these do not wait for suggestions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from pinactors.analysis.matching import sightings
from pinactors.analysis.matching.identification import MIN_PROBABILITY
from pinactors.analysis.matching.sightings import CLAIM_ODDS, CatalogSource
from pinactors.analysis.model import MAX_CANDIDATES, Image, Match, MatchCandidate


def with_named(source: CatalogSource, match: Match, rgb: Image, numbers: Sequence[int]) -> Match:
    """`match` with those of the pins `numbers` added to its candidates that can be registered on the
    photograph with at least `CLAIM_ODDS`. The scores of all candidates and of "none of them" are rescaled to
    sum to 1. A match that is identified is returned unchanged."""
    known = {source.number(one.pin.pin_id) for one in match.candidates}
    tried = [number for number in numbers if number not in known]
    if match.identified or source.index is None or not tried:
        return match
    query = sightings.features(rgb)
    seen = [one for one in sightings.compare_candidates(source, rgb, query, tried) if one.odds >= CLAIM_ODDS]
    pins = source.numbered([one.candidate.number for one in seen])
    none = max(1 - sum(one.score for one in match.candidates), MIN_PROBABILITY)
    weighted = [(one.pin, one.score / none, one.inliers) for one in match.candidates]
    weighted += [
        (pins[one.candidate.number], math.exp(min(one.odds, 30.0)), one.inliers)
        for one in seen
        if one.candidate.number in pins
    ]
    weighted.sort(key=lambda one: -one[1])
    total = 1 + sum(weight for _, weight, _ in weighted)
    candidates = [MatchCandidate(pin, weight / total, inliers) for pin, weight, inliers in weighted]
    return dataclasses.replace(match, candidates=tuple(candidates[:MAX_CANDIDATES]))
