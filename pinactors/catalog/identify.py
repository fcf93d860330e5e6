"""Which catalogue pin is it? Shortlist from the index, then geometry, then a claim only where both leave no doubt."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pinactors.analysis import features, matching, registration
from pinactors.analysis.model import Match, MatchCandidate, PreparedView, Reference, StampReading
from pinactors.catalog.importer import factory_key
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View

SHORTLIST = 12
CANDIDATES = 5
CLAIM_INLIERS = 10
MARGIN = 2.0

EMPTY = "The catalogue is empty: nothing can be compared."
OUTDATED = "The catalogue was imported by another version of the program: import it again."
NO_MATCH = "No pin of the catalogue fits this photograph."
TOO_CLOSE = "Several pins of the catalogue fit this photograph about equally well."


def identify(catalog_dir: str | Path, front: PreparedView) -> Match:
    """The catalogue search from the front alone."""
    catalog = Catalog.open(catalog_dir)
    with catalog.connected:
        if not catalog.size:
            return _unclaimed(catalog, EMPTY)
        if catalog.outdated:
            return _unclaimed(catalog, OUTDATED)
        if front.pin is None:
            return _unclaimed(catalog, front.pin_problem or NO_MATCH)
        candidates = _candidates(catalog, front)
        return _decide(catalog, candidates)


def refine(
    catalog_dir: str | Path,
    first: Match,
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
) -> Match:
    """The search with all views: what the front found, joined by the tilted view, the back and its stamp."""
    catalog = Catalog.open(catalog_dir)
    with catalog.connected:
        if not catalog.size or catalog.outdated:
            return first
        candidates = {candidate.pin.pin_id: candidate for candidate in first.candidates}
        if angled is not None and angled.pin is not None:
            for candidate in _candidates(catalog, angled):
                known = candidates.get(candidate.pin.pin_id)
                if known is None:
                    candidates[candidate.pin.pin_id] = dataclasses.replace(candidate, to_reference=None)
                else:
                    inliers = known.inliers + candidate.inliers
                    score = max(known.score, _score(inliers))
                    candidates[candidate.pin.pin_id] = dataclasses.replace(
                        known, inliers=inliers, score=score
                    )
        if stamp is not None and stamp.factory_code:
            pins = catalog.numbered(catalog.by_code(factory_key(stamp.factory_code)))
            for pin in pins.values():
                known = candidates.get(pin.pin_id)
                if known is not None:
                    candidates[pin.pin_id] = dataclasses.replace(known, score=max(known.score, 0.9))
        ordered = sorted(candidates.values(), key=lambda c: (-c.score, -c.inliers))[:CANDIDATES]
        match = _decide(catalog, ordered)
        if match.identified and back is not None and back.pin is not None and View.BACK in match.references:
            found = registration.register_back(back.pin, match.references[View.BACK])
            best = dataclasses.replace(match.candidates[0], back_to_reference=found)
            match = dataclasses.replace(match, candidates=(best, *match.candidates[1:]))
        return dataclasses.replace(match, decided=True)


def _candidates(catalog: Catalog, view: PreparedView) -> list[MatchCandidate]:
    assert view.pin is not None
    crop, mask = view.pin.rgb, view.pin.crop_mask
    shortlist = catalog.search(features.appearance(crop, mask).layout, SHORTLIST)
    pins = catalog.numbered(shortlist)
    stored = catalog.features(shortlist)
    local = features.local_features(crop, mask)
    found = []
    for number, similarity in shortlist.items():
        if number not in pins or number not in stored:
            continue
        verified = matching.verify(local, stored[number])
        score = max(_score(verified.inliers), 0.3 * max(0.0, similarity - 0.5))
        found.append(MatchCandidate(pins[number], score, verified.inliers, verified.homography))
    return sorted(found, key=lambda c: (-c.score, -c.inliers))[:CANDIDATES]


def _score(inliers: int) -> float:
    return min(0.98, inliers / (inliers + 6.0))


def _decide(catalog: Catalog, candidates: list[MatchCandidate]) -> Match:
    if not candidates or candidates[0].inliers < CLAIM_INLIERS:
        return _unclaimed(catalog, NO_MATCH, candidates)
    best = candidates[0]
    if len(candidates) > 1 and best.inliers < MARGIN * candidates[1].inliers:
        return _unclaimed(catalog, TOO_CLOSE, candidates)
    references: dict[View, Reference] = {}
    for view in (View.FRONT, View.BACK):
        reference = catalog.reference(best.pin.pin_id, view)
        if reference is not None:
            references[view] = reference
    return Match(
        candidates=tuple(candidates),
        identified=True,
        decided=best.inliers >= 3 * CLAIM_INLIERS,
        catalog_version=catalog.version,
        catalog_size=catalog.size,
        demonstration=catalog.demonstration,
        references=references,
        sales=catalog.sales(best.pin.pin_id),
    )


def _unclaimed(catalog: Catalog, reason: str, candidates: list[MatchCandidate] | None = None) -> Match:
    return Match(
        candidates=tuple(candidates or ()),
        reason=reason,
        catalog_version=catalog.version,
        catalog_size=catalog.size,
        demonstration=catalog.demonstration,
    )
