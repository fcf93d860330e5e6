"""Tries pins that were suggested by name on the photograph; those that its pixels confirm become candidates.

Nothing is claimed here: a claim decides verdict and price, and these do not wait for suggestions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pinactors.analysis.matching import sightings
from pinactors.analysis.matching.identification import odds_of, scores_of
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
    rated = [(one.pin, odds, one.inliers) for one, odds in zip(match.candidates, odds_of(match), strict=True)]
    rated += [
        (pins[one.candidate.number], one.odds, one.inliers) for one in seen if one.candidate.number in pins
    ]
    rated.sort(key=lambda one: -one[1])
    scores = scores_of([odds for _, odds, _ in rated])
    candidates = [
        MatchCandidate(pin, score, inliers) for (pin, _, inliers), score in zip(rated, scores, strict=True)
    ]
    return dataclasses.replace(match, candidates=tuple(candidates[:MAX_CANDIDATES]))
