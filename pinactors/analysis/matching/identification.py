"""Identifies the photographed pin: makes a `Match` from the views and decides whether to claim a pin.

`identify` uses the front, `refine` adds the tilted view, the back and its stamp. A claim requires a
registered candidate, a sufficient calibrated probability and a lead over every other pin that could lie in
the same place; otherwise the match only lists candidates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import alignment, likeness, probability, sightings, stamp_key, verification
from pinactors.analysis.matching.boards import find_all_pins
from pinactors.analysis.matching.likeness import Likeness
from pinactors.analysis.matching.sightings import (
    CLAIM_ODDS,
    CLAIM_PROBABILITY,
    FURTHER_PIN_ODDS,
    SAME_PLACE_OVERLAP,
    CatalogSource,
    Region,
    Sighting,
    box_of,
    find_pins,
    overlap,
)
from pinactors.analysis.model import (
    MAX_CANDIDATES,
    Image,
    Match,
    MatchCandidate,
    Matrix,
    NeighbourPin,
    PreparedView,
    StampReading,
)
from pinactors.protocol import View

MIN_CLAIMED_SHARE = 0.75
"""Least share of all candidates' summed probability that the claimed one must have: variants of one drawing
often cannot be distinguished."""
DECIDED_ODDS, DECIDED_LEAD = 3.0, 4.0
"""Least log odds, and least lead over the second candidate, from which further views would not change the
result. Six clear drawn fronts have log odds of 3.2 to 3.8; on a set of 44 fronts, the results were the same
with 3 and with 4, but with 4 hardly any front was decided."""
MIN_PROBABILITY = 1e-9
"""Lower bound of probabilities before their logarithm is taken."""

TILTED_WEIGHT, NOT_FOUND_ODDS = 0.6, -3.0
"""Share of the tilted view's log odds that is added to the front's (the views are not independent: they share
the reference and the pin's wear), and the log odds of a view in which the pin was not found. Lower log odds
in a tilted view count as not found: they are no stronger evidence against a pin."""

MAX_BACKS_COMPARED, MAX_BACK_LAG_LOG_ODDS = 3, 7.0
"""Number of candidates whose back is compared, and how far behind the best (log odds) they may be."""

EMPTY_CATALOGUE = "The catalogue is empty: there is nothing to compare with."
OUTDATED_CATALOGUE = "The catalogue cannot be searched at the moment, so there is nothing to compare with."
"""Text for collectors; `/health` and `/admin` tell an operator what to do."""
NO_MATCH = "No pin in the catalogue matches this photograph well enough to name it."
TOO_CLOSE = "Several pins in the catalogue match this photograph about equally well."


@dataclass(frozen=True, slots=True)
class _Fit:
    """The combined evidence of the views for one pin: natural log odds and inliers; `to_reference` as in
    `MatchCandidate`."""

    odds: float
    inliers: int
    to_reference: dict[View, Matrix] = field(default_factory=dict)


def identify(source: CatalogSource, rgb: Image, region: Region | None = None) -> Match:
    """Searches by the front alone. `region` is where the user says the pin is, used as a hint."""
    unusable = _unusable(source)
    if unusable:
        return _unclaimed(source, unusable)
    seen = find_pins(source, rgb, region=region)
    further_pins = _further_pins(seen)
    match = _conclude(source, _fits([one for one in seen if one not in further_pins], View.FRONT))
    if match.identified and further_pins:
        main = seen[0]
        others = [one for one in find_all_pins(source, rgb) if _in_other_place(one, main)] or further_pins
        match = dataclasses.replace(match, also_seen=_also_seen(source, others, rgb))
    return match


def identify_tilted(source: CatalogSource, rgb: Image, first: Match, region: Region | None = None) -> Match:
    """Searches by the tilted view and also tries the candidates that the front gave (`first`)."""
    unusable = _unusable(source)
    if unusable:
        return _unclaimed(source, unusable)
    also = [number for one in first.candidates if (number := source.number(one.pin.pin_id)) is not None]
    query = sightings.features(rgb)
    if first.decided and also:  # only its geometry in this view is missing
        seen = sightings.compare_candidates(source, rgb, query, also[:1])
        if seen and seen[0].odds >= CLAIM_ODDS:
            return _conclude(source, _fits(seen, View.ANGLED))
    seen = find_pins(source, rgb, also, region, query)
    known = next((one for one in seen if also and one.candidate.number == also[0]), None)
    if known is not None and first.identified:  # the front decides which of several pins is meant
        seen = [known, *(one for one in seen if one is not known)]
    further_pins = _further_pins(seen)
    return _conclude(source, _fits([one for one in seen if one not in further_pins], View.ANGLED))


def _further_pins(seen: Sequence[Sighting]) -> list[Sighting]:
    """Probable pins that lie in other places than the main one, so that they are not its rivals."""
    return [
        sighting
        for sighting in seen[1:]
        if sighting.odds >= FURTHER_PIN_ODDS and _in_other_place(sighting, seen[0])
    ]


def _in_other_place(sighting: Sighting, main: Sighting) -> bool:
    return (
        sighting.candidate.number != main.candidate.number
        and overlap(sighting.outline, main.outline) < SAME_PLACE_OVERLAP
    )


def _also_seen(source: CatalogSource, seen: Sequence[Sighting], rgb: Image) -> tuple[NeighbourPin, ...]:
    pins = source.numbered([sighting.candidate.number for sighting in seen])
    return tuple(
        NeighbourPin(pins[sighting.candidate.number], box_of(sighting, rgb), sighting.probability)
        for sighting in seen
        if sighting.candidate.number in pins
    )


def refine(
    source: CatalogSource,
    first: Match,
    tilted: Match | None,
    back: PreparedView | None,
    stamp: StampReading | None,
) -> Match:
    """Combines all views: the matches of the front and the tilted view, the back and its stamp."""
    if _unusable(source):
        return dataclasses.replace(first, decided=True)
    fits = _fits_of_match(source, first)
    if tilted is not None:
        fits = _combine_views(fits, _fits_of_match(source, tilted))
    if stamp is not None:
        fits = _with_stamp(source, fits, stamp)
    if back is not None and back.pin is not None:
        fits = _with_back(source, fits, back)
    return dataclasses.replace(_conclude(source, fits), decided=True, also_seen=first.also_seen)


def _unusable(source: CatalogSource) -> str:
    if not source.size:
        return EMPTY_CATALOGUE
    return OUTDATED_CATALOGUE if source.outdated else ""


def _fits(seen: Sequence[Sighting], view: View) -> dict[int, _Fit]:
    return {
        sighting.candidate.number: _Fit(
            sighting.odds, sighting.inliers, {view: np.asarray(np.linalg.inv(sighting.to_photo), np.float64)}
        )
        for sighting in seen
    }


def _combine_views(fits: dict[int, _Fit], tilted: dict[int, _Fit]) -> dict[int, _Fit]:
    combined = {}
    for number in fits.keys() | tilted.keys():
        front_fit, tilted_fit = fits.get(number), tilted.get(number)
        front = front_fit.odds if front_fit else NOT_FOUND_ODDS
        total = front + TILTED_WEIGHT * (
            max(tilted_fit.odds, NOT_FOUND_ODDS) if tilted_fit else NOT_FOUND_ODDS
        )
        parts = [part for part in (front_fit, tilted_fit) if part is not None]
        to_reference = {view: matrix for part in parts for view, matrix in part.to_reference.items()}
        combined[number] = _Fit(total, sum(part.inliers for part in parts), to_reference)
    return combined


def _with_stamp(source: CatalogSource, fits: dict[int, _Fit], stamp: StampReading) -> dict[int, _Fit]:
    """Adds the stamp's evidence to the fits. Counterfeits that copy codes are no problem here: they copy the
    code of the pin they imitate. A pin that only its code found is listed as a candidate, but never
    claimed."""
    if stamp.factory_code:
        named = source.by_code(stamp_key.factory_key(stamp.factory_code))
        fits = {
            number: _Fit(2 * NOT_FOUND_ODDS - stamp_key.EXACT_CODE_LOG_ODDS, 0) for number in named
        } | fits
    pins = source.numbered(fits)
    return {
        number: dataclasses.replace(fit, odds=fit.odds + stamp_key.log_odds(stamp, pins[number]))
        for number, fit in fits.items()
        if number in pins
    }


def _with_back(source: CatalogSource, fits: dict[int, _Fit], back: PreparedView) -> dict[int, _Fit]:
    """Adds the evidence of the back to the best fits. A fit whose back the catalogue lacks is unchanged."""
    assert back.pin is not None
    portrait = Portrait.of(back.pin.rgb, back.pin.crop_mask)
    best = sorted(fits, key=lambda number: -fits[number].odds)[:MAX_BACKS_COMPARED]
    pins = source.numbered(best)
    compared = dict(fits)
    for number in best:
        fit = fits[number]
        if number not in pins or fit.odds < fits[best[0]].odds - MAX_BACK_LAG_LOG_ODDS:
            continue
        found = compare_back(source, portrait, pins[number].pin_id)
        if found is None:
            continue
        alike, to_query = found
        to_reference = fit.to_reference
        if alike is not None and alike.outline >= alignment.BACK_OVERLAP:
            to_known = np.asarray(np.linalg.inv(to_query) @ back.pin.to_crop, np.float64)
            to_reference = to_reference | {View.BACK: to_known}
        odds = fit.odds + probability.back_log_odds(alike)
        compared[number] = dataclasses.replace(fit, odds=odds, to_reference=to_reference)
    return compared


def compare_back(source: CatalogSource, back: Portrait, pin_id: str) -> tuple[Likeness | None, Matrix] | None:
    """How well a back agrees with the catalogue's of a pin (None: they hardly overlap), and the homography
    from the catalogue's crop to the photograph's. None if the catalogue has no back of the pin."""
    reference = source.reference(pin_id, View.BACK)
    if reference is None:
        return None
    known = Portrait.of(reference.rgb, reference.mask)
    to_query = alignment.register(back, known).to_query
    return likeness.compare(back, known, to_query), to_query


def _fits_of_match(source: CatalogSource, match: Match) -> dict[int, _Fit]:
    """The fits from which a match's candidates were made. Their odds are relative to "none of them", which
    has the probability that the candidates leave."""
    fits = {}
    for candidate, odds in zip(match.candidates, odds_of(match), strict=True):
        number = source.number(candidate.pin.pin_id)
        if number is not None:
            fits[number] = _Fit(odds, candidate.inliers, candidate.to_reference)
    return fits


def odds_of(match: Match) -> list[float]:
    """The log odds of a match's candidates, as `scores_of` takes them."""
    none = max(1 - sum(candidate.score for candidate in match.candidates), MIN_PROBABILITY)
    return [math.log(max(candidate.score, MIN_PROBABILITY) / none) for candidate in match.candidates]


def scores_of(odds: Sequence[float]) -> list[float]:
    """The probabilities of candidates with these log odds, relative to "none of them", with which they sum
    to 1."""
    weights = [math.exp(min(one, 30.0)) for one in odds]
    total = 1 + sum(weights)  # 1 stands for "none of them"
    return [weight / total for weight in weights]


def _conclude(source: CatalogSource, fits: dict[int, _Fit]) -> Match:
    """Turns odds into probabilities that sum to 1 with "none of them", and claims the best pin if they
    allow it."""
    best = sorted(fits.items(), key=lambda item: -item[1].odds)[:MAX_CANDIDATES]
    pins = source.numbered([number for number, _ in best])
    ranked = [(pins[number], fit) for number, fit in best if number in pins]
    if not ranked:
        return _unclaimed(source, NO_MATCH)
    odds = [fit.odds for _, fit in ranked]
    candidates = tuple(
        MatchCandidate(pin, score, fit.inliers, fit.to_reference)
        for (pin, fit), score in zip(ranked, scores_of(odds), strict=True)
    )
    known = sum(candidate.score for candidate in candidates)
    clear = candidates[0].score >= MIN_CLAIMED_SHARE * known
    if candidates[0].score < CLAIM_PROBABILITY or not clear or candidates[0].inliers < verification.MIN_PAIRS:
        reason = TOO_CLOSE if known >= CLAIM_PROBABILITY and not clear else NO_MATCH
        return dataclasses.replace(_unclaimed(source, reason), candidates=candidates)
    lead = odds[0] - (odds[1] if len(odds) > 1 else NOT_FOUND_ODDS)
    pin_id = candidates[0].pin.pin_id
    references = {view: source.reference(pin_id, view) for view in (View.FRONT, View.BACK)}
    return Match(
        candidates=candidates,
        identified=True,
        decided=odds[0] >= DECIDED_ODDS and lead >= DECIDED_LEAD,
        catalog_version=source.version,
        catalog_size=source.size,
        demonstration=source.demonstration,
        references={view: one for view, one in references.items() if one is not None},
        sales=source.sales(pin_id),
        rates=source.rates(),
    )


def _unclaimed(source: CatalogSource, reason: str) -> Match:
    return Match(
        reason=reason,
        catalog_version=source.version,
        catalog_size=source.size,
        demonstration=source.demonstration,
    )
