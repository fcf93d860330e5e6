"""Which catalogue pin is it?

A photograph's pin is looked up by its layout; the few that come up are laid on it and compared in outline,
lines and colours. When nothing of the catalogue resembles the cut-out, the other ways of cutting the
photograph are looked up too: the catalogue then tells which cut was right. A claim needs both good odds and
a clear lead; everything else is a list of candidates.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pinactors.analysis.evidence import registration
from pinactors.analysis.imaging.portrait import Floats, Portrait
from pinactors.analysis.matching import features, likeness, stamp_key
from pinactors.analysis.model import Match, MatchCandidate, Matrix, PreparedView, Reference, StampReading
from pinactors.analysis.segmentation.alternatives import alternatives
from pinactors.catalog.reader import Catalog, Face
from pinactors.protocol import View

SHORTLIST = 6
TURNS = 3
ALTERNATIVE_LIST, ALTERNATIVE_PAIRS = 4, 10
"""Pins looked up for each other cut, and how many (cut, pin) pairs are then laid on each other."""
CANDIDATES = 5

CONTENT = 0.5
"""Log odds of the best from which no other cut is tried."""

CLAIM = 0.75
"""Probability from which a pin is claimed, its geometry being verified."""
DECIDED_ODDS, DECIDED_LEAD = 4.0, 4.0
"""Log odds, and their lead, from which another photograph would not change the answer."""

LEAST = 1e-9
"""Probabilities are kept above this where their logarithm is needed."""

NOT_SEEN = -4.0
"""Log odds a view contributes for a pin it could not be compared with."""
VIEW_WEIGHTS, VIEW_INTERCEPT = (0.6, 0.7), 0.4
"""How the log odds of the front and the tilted view join: they share their reference and their pin's wear."""

BACKS, BACKS_BEHIND = 3, 7.0
"""Candidates whose back is compared, none of them further behind the best than this (log odds)."""

CLOSE = 5.0
"""Log odds behind the best up to which a pin is its rival."""

EMPTY = "The catalogue is empty: there is nothing to compare with."
OUTDATED = "The catalogue was imported by another version of this program and has to be imported again."
NO_MATCH = "No pin of the catalogue fits this photograph well enough to be claimed."
UNVERIFIED = "One pin of the catalogue is likely, but the photograph could not be laid on its picture."
TOO_CLOSE = "Several pins of the catalogue fit this photograph about equally well."


@dataclass(frozen=True, slots=True)
class _Look:
    """One way a photograph's pin looks. `to_pin` maps this look's crop pixels to those of the view's own
    cut-out; None when it has none."""

    view: View
    portrait: Portrait
    layout: Floats
    to_pin: Matrix | None

    @classmethod
    def of(cls, view: PreparedView) -> _Look | None:
        if view.pin is None:
            return None
        portrait = Portrait.of(view.pin.rgb, view.pin.crop_mask)
        return cls(view.view, portrait, features.layout(portrait), np.eye(3))


@dataclass(frozen=True, slots=True)
class _Fit:
    """One catalogue pin laid on the looks of one or more views; `laid` as a `MatchCandidate` has it."""

    odds: float
    points: int
    verified: bool
    laid: dict[View, Matrix] = field(default_factory=dict)


def identify(catalog_dir: str | Path, front: PreparedView) -> Match:
    """The catalogue search from the front alone. Raises `ValueError` for a damaged catalogue."""
    catalog = Catalog.open(catalog_dir)
    unusable = _unusable(catalog)
    if unusable:
        return _unclaimed(catalog, unusable)
    with catalog.connected:
        fits = _dueled(catalog, _search(catalog, front), front)
        return _conclude(catalog, fits, front.pin_problem)


def refine(
    catalog_dir: str | Path,
    first: Match,
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
) -> Match:
    """The search with all views: what the front found, joined by the tilted view and the back with its
    stamp."""
    catalog = Catalog.open(catalog_dir)
    if _unusable(catalog):
        return dataclasses.replace(first, decided=True)
    with catalog.connected:
        fits = _remembered(catalog, first)
        if angled is not None:
            fits = _join(catalog, fits, front, angled)
        if stamp is not None:
            fits = _with_stamp(catalog, fits, front, stamp)
        if back is not None:
            fits = _with_back(catalog, fits, back)
        if angled is not None:  # the front's duels are in the first match
            fits = _dueled(catalog, fits, angled)
        match = _conclude(catalog, fits, front.pin_problem)
        return dataclasses.replace(match, decided=True)


def _unusable(catalog: Catalog) -> str:
    if not catalog.size:
        return EMPTY
    return OUTDATED if catalog.outdated else ""


def _search(catalog: Catalog, view: PreparedView) -> dict[int, _Fit]:
    """Pins of the catalogue by how they fit the view, from its own cut and, where that finds nothing,
    others."""
    fits: dict[int, _Fit] = {}
    look = _Look.of(view)
    if look is not None:
        (shortlist,) = catalog.search([look.layout], SHORTLIST)
        faces = catalog.faces([number for number, _ in shortlist])
        fits = {number: _fit(look, face) for number, face in faces.items()}
    if max((fit.odds for fit in fits.values()), default=NOT_SEEN) < CONTENT:
        for number, fit in _search_alternatives(catalog, view).items():
            if number not in fits or fit.odds > fits[number].odds:
                fits[number] = fit
    return fits


def _search_alternatives(catalog: Catalog, view: PreparedView) -> dict[int, _Fit]:
    looks = []
    for other in alternatives(view):
        to_pin = view.pin.to_crop @ np.linalg.inv(other.to_crop) if view.pin is not None else None
        looks.append(_Look(view.view, other.portrait, features.layout(other.portrait), to_pin))
    found = catalog.search([look.layout for look in looks], ALTERNATIVE_LIST)
    pairs = [
        (similarity, number, look)
        for look, row in zip(looks, found, strict=True)
        for number, similarity in row
    ]
    pairs.sort(key=lambda pair: -pair[0])
    pairs = pairs[:ALTERNATIVE_PAIRS]
    faces = catalog.faces({number for _, number, _ in pairs})
    fits: dict[int, _Fit] = {}
    for _, number, look in pairs:
        if number in faces:
            fit = _fit(look, faces[number])
            if number not in fits or fit.odds > fits[number].odds:
                fits[number] = fit
    return fits


def _fit(look: _Look, face: Face) -> _Fit:
    turns = features.turns(look.layout, face.layout, TURNS)
    alignment = registration.align(look.portrait, face.portrait, turns)
    alike = likeness.compare(look.portrait, face.portrait, alignment.to_query)
    laid = {}
    if look.to_pin is not None:
        laid[look.view] = np.asarray(np.linalg.inv(look.to_pin @ alignment.to_query), np.float64)
    points = alike.points if alike else 0
    return _Fit(likeness.log_odds(alike), points, likeness.verified(alike), laid)


def _join(
    catalog: Catalog, fits: dict[int, _Fit], front: PreparedView, angled: PreparedView
) -> dict[int, _Fit]:
    """The front's fits with the tilted view's: each pin either brought up is compared with both."""
    tilted = _search(catalog, angled)
    fits = fits | _fits_of(catalog, front, tilted.keys() - fits.keys())
    tilted = tilted | _fits_of(catalog, angled, fits.keys() - tilted.keys())
    joined = {}
    for number, fit in fits.items():
        other = tilted.get(number)
        odds = (fit.odds, other.odds if other else NOT_SEEN)
        total = VIEW_INTERCEPT + sum(w * o for w, o in zip(VIEW_WEIGHTS, odds, strict=True))
        points = fit.points + (other.points if other else 0)
        verified = fit.verified or (other is not None and other.verified)
        joined[number] = _Fit(total, points, verified, fit.laid | (other.laid if other else {}))
    return joined


def _fits_of(catalog: Catalog, view: PreparedView, numbers: set[int]) -> dict[int, _Fit]:
    """These pins compared with the view's own cut; pins it cannot be compared with count as not seen."""
    look = _Look.of(view) if numbers else None
    if look is None:
        return {number: _Fit(NOT_SEEN, 0, False) for number in numbers}
    return {number: _fit(look, face) for number, face in catalog.faces(numbers).items()}


def _with_stamp(
    catalog: Catalog, fits: dict[int, _Fit], front: PreparedView, stamp: StampReading
) -> dict[int, _Fit]:
    """The fits with what the back says. A code is a catalogue key of its own: the pin that has it is
    compared even
    if its looks brought up others. That counterfeits copy codes does not matter here: they copy the pin's
    own."""
    if stamp.factory_code:
        named = set(catalog.by_code(stamp_key.factory_key(stamp.factory_code)))
        fits = fits | _fits_of(catalog, front, named - fits.keys())
    pins = catalog.numbered(fits)
    return {
        number: dataclasses.replace(fit, odds=fit.odds + stamp_key.log_odds(stamp, pins[number]))
        for number, fit in fits.items()
        if number in pins
    }


def _with_back(catalog: Catalog, fits: dict[int, _Fit], back: PreparedView) -> dict[int, _Fit]:
    """The fits, those in front with their backs compared. A pin whose back the catalogue lacks stays as it
    is."""
    look = _Look.of(back)
    if look is None:
        return fits
    best = sorted(fits, key=lambda number: -fits[number].odds)[:BACKS]
    close = [number for number in best if fits[number].odds > fits[best[0]].odds - BACKS_BEHIND]
    compared = dict(fits)
    for number, face in catalog.faces(close, View.BACK).items():
        turns = features.turns(look.layout, face.layout, TURNS)
        to_query = registration.align(look.portrait, face.portrait, turns).to_query
        alike = likeness.compare(look.portrait, face.portrait, to_query)
        fit = fits[number]
        if likeness.verified(alike) and not fit.verified:  # a back stands for a front that was not cut out
            fit = dataclasses.replace(fit, points=alike.points, verified=True)
        laid = fit.laid
        if alike is not None and alike.outline >= registration.BACK_OVERLAP:
            laid = laid | {View.BACK: np.asarray(np.linalg.inv(to_query), np.float64)}
        odds = fit.odds + likeness.back_log_odds(alike)
        compared[number] = dataclasses.replace(fit, odds=odds, laid=laid)
    return compared


def _dueled(catalog: Catalog, fits: dict[int, _Fit], view: PreparedView) -> dict[int, _Fit]:
    """The fits, close rivals of the best having met it where both are laid on `view`: who loses falls
    back."""
    ranked = sorted(fits, key=lambda number: -fits[number].odds)[:CANDIDATES]
    to_query = {
        number: np.asarray(np.linalg.inv(fits[number].laid[view.view]), np.float64)
        for number in ranked
        if fits[number].odds > fits[ranked[0]].odds - CLOSE and view.view in fits[number].laid
    }
    if view.pin is None or len(to_query) < 2:
        return fits
    portrait = Portrait.of(view.pin.rgb, view.pin.crop_mask)
    faces = catalog.faces(to_query)
    met = dict(fits)
    # an import may have taken some away meanwhile
    best, *rivals = [number for number in to_query if number in faces] or [ranked[0]]
    for rival in rivals:
        odds = likeness.duel(
            portrait, faces[best].portrait, faces[rival].portrait, to_query[best], to_query[rival]
        )
        loser = rival if odds > 0 else best
        met[loser] = dataclasses.replace(met[loser], odds=met[loser].odds - abs(odds))
        best = max(best, rival, key=lambda number: met[number].odds)
    return met


def _remembered(catalog: Catalog, first: Match) -> dict[int, _Fit]:
    """The fits behind a match's candidates: their odds are against "none of them", whose share is what is
    left."""
    none = max(1 - sum(candidate.score for candidate in first.candidates), LEAST)
    fits = {}
    for candidate in first.candidates:
        number = catalog.number(candidate.pin.pin_id)
        if number is not None:
            odds = math.log(max(candidate.score, LEAST) / none)
            fits[number] = _Fit(odds, candidate.inliers, candidate.inliers > 0, candidate.laid)
    return fits


def _conclude(catalog: Catalog, fits: dict[int, _Fit], problem: str) -> Match:
    """Odds into probabilities that share one pin among them, and a claim where they allow it."""
    best = sorted(fits.items(), key=lambda item: -item[1].odds)[:CANDIDATES]
    pins = catalog.numbered([number for number, _ in best])
    ranked = [(pins[number], fit) for number, fit in best if number in pins]
    if not ranked:
        return _unclaimed(catalog, problem or NO_MATCH)
    weights = [math.exp(min(fit.odds, 30.0)) for _, fit in ranked]
    total = 1 + sum(weights)  # 1 stands for "none of them"
    candidates = tuple(
        MatchCandidate(
            pin,
            weight / total,
            fit.points if fit.verified else 0,
            fit.laid,
        )
        for (pin, fit), weight in zip(ranked, weights, strict=True)
    )
    if candidates[0].score < CLAIM or not ranked[0][1].verified:
        if candidates[0].score >= CLAIM:
            reason = UNVERIFIED
        elif sum(candidate.score for candidate in candidates) >= CLAIM:
            reason = TOO_CLOSE
        else:
            reason = problem or NO_MATCH
        return dataclasses.replace(_unclaimed(catalog, reason), candidates=candidates)
    odds = [fit.odds for _, fit in ranked]
    lead = odds[0] - (odds[1] if len(odds) > 1 else NOT_SEEN)
    return Match(
        candidates=candidates,
        identified=True,
        decided=odds[0] >= DECIDED_ODDS and lead >= DECIDED_LEAD,
        catalog_version=catalog.version,
        catalog_size=catalog.size,
        demonstration=catalog.demonstration,
        references=_references(catalog, candidates[0].pin.pin_id),
        sales=catalog.sales(candidates[0].pin.pin_id),
        rates=catalog.rates(),
    )


def _references(catalog: Catalog, pin_id: str) -> dict[View, Reference]:
    found = {view: catalog.reference(pin_id, view) for view in (View.FRONT, View.BACK)}
    return {view: reference for view, reference in found.items() if reference is not None}


def _unclaimed(catalog: Catalog, reason: str) -> Match:
    return Match(
        reason=reason,
        catalog_version=catalog.version,
        catalog_size=catalog.size,
        demonstration=catalog.demonstration,
    )
