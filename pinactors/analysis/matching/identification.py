"""Which catalogue pins a photograph shows: features, candidates, geometric verification, re-ranking, claim.

`look` finds pins in one photograph; `identify` makes a `Match` of the front's, and `refine` joins the tilted
view, the back and its stamp. A claim needs a registered candidate, a calibrated probability and a lead over
every other pin that could lie in the same place; everything else is a list of candidates.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import (
    alignment,
    keypoints,
    likeness,
    probability,
    reranking,
    stamp_key,
    verification,
)
from pinactors.analysis.matching.inverted_index import InvertedIndex
from pinactors.analysis.matching.keypoints import Features, joined
from pinactors.analysis.matching.reranking import Candidate, Comparison
from pinactors.analysis.matching.verification import Registration
from pinactors.analysis.model import (
    AlsoSeen,
    CatalogPin,
    Image,
    Match,
    MatchCandidate,
    Matrix,
    PreparedView,
    Reference,
    Sale,
    StampReading,
)
from pinactors.protocol import View

SIDES = 800, 480
FEATURES = 1800
"""Sides to which a photograph is reduced for its features of lightness and colour, and how many it has."""

BOARD_SIDES, BOARD_FEATURES = (1600, 960), 8000
"""The same for a photograph of many pins, each of which is small in it."""
BOARD_VOTED, BOARD_SUPPORT = 80, 0.4
"""Candidates verified on such a photograph, and the support from which they are compared with it."""

AROUND = 0.15
"""How far beyond each side of a region, in its sizes, a pin may reach: people tap roughly."""

VOTED, COMPARED = 15, 4
"""Candidates that are verified, and of those registered how many are compared with the photograph."""
CANDIDATES = 5

CLAIM = 0.75
"""Probability from which a pin is claimed."""
CLAIM_ODDS = math.log(CLAIM / (1 - CLAIM))
DECIDED_ODDS, DECIDED_LEAD = 4.0, 4.0
"""Log odds, and their lead, from which another photograph would not change the answer."""
LEAST = 1e-9
"""Probabilities are kept above this where their logarithm is needed."""

SAME_PLACE = 0.3
"""Intersection over union of two outlines from which they are the same pin's."""
CLOSE = 5.0
"""Log odds behind the best up to which a pin in the same place is its rival."""

TILTED_WEIGHT, NOT_SEEN = 0.6, -3.0
"""Share of the tilted view's log odds that is added to the front's (they share their reference and the pin's
wear), and what a view counts as in which the pin was not found."""

BACKS, BACKS_BEHIND = 3, 7.0
"""Candidates whose back is compared, none of them further behind the best than this (log odds)."""
TURNS = 3

EMPTY = "The catalogue is empty: there is nothing to compare with."
OUTDATED = (
    "The catalogue was made by another version of this program: "
    "`pinactors catalog rebuild` brings it up to date."
)
NO_MATCH = "No pin of the catalogue fits this photograph well enough to be claimed."
TOO_CLOSE = "Several pins of the catalogue fit this photograph about equally well."


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


@dataclass(frozen=True, slots=True)
class _Fit:
    """What speaks for one pin after all views; `laid` as a `MatchCandidate` has it."""

    odds: float
    inliers: int
    laid: dict[View, Matrix] = field(default_factory=dict)


def look(
    source: Source, rgb: Image, also: Collection[int] = (), region: Region | None = None
) -> list[Sighting]:
    """The catalogue pins found in a photograph, likeliest first, those inside `region` before all others;
    pins numbered `also` are tried in any case. Rivals for one place have been compared where their pictures
    differ."""
    if source.index is None:
        return []
    query = keypoints.extract(rgb, None, SIDES, FEATURES)
    if region is not None:
        query = joined(query, _within(rgb, region))
    numbers = source.index.votes(query).numbers[:VOTED]
    chosen = [*dict.fromkeys([*(int(number) for number in numbers), *also])]
    registered: list[tuple[float, Candidate, Registration]] = []
    for candidate in source.candidates(chosen).values():
        found = verification.register(query, candidate.features)
        if found is not None:
            registered.append((_support(candidate, found), candidate, found))
    registered.sort(key=lambda one: -one[0])
    seen = []
    for _, candidate, found in registered[:COMPARED]:
        with contextlib.suppress(LookupError):  # an import replaces pins while searches run
            seen.append(_sighting(rgb, query, candidate, found))
    seen.sort(key=lambda one: (not _inside(one, region, rgb), -one.odds))
    return _settled(seen)


def look_everywhere(source: Source, rgb: Image) -> list[Sighting]:
    """All catalogue pins found in a photograph of many, likeliest first, no two in the same place."""
    if source.index is None:
        return []
    query = keypoints.extract(rgb, None, BOARD_SIDES, BOARD_FEATURES)
    votes = source.index.votes(query)
    seen = []
    for candidate in source.candidates([int(number) for number in votes.numbers[:BOARD_VOTED]]).values():
        voters = votes.voters(candidate.number)
        found = verification.register(query.take(voters), candidate.features)
        if found is None or _support(candidate, found) < BOARD_SUPPORT:
            continue
        found = dataclasses.replace(found, query=voters[found.query])
        with contextlib.suppress(LookupError):
            seen.append(_sighting(rgb, query, candidate, found))
    return apart(sorted(seen, key=lambda one: -one.odds))


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
    left, right = max(0.0, x - across * AROUND), min(1.0, x + across * (1 + AROUND))
    top, bottom = max(0.0, y - down * AROUND), min(1.0, y + down * (1 + AROUND))
    window = rgb[int(top * height) : int(bottom * height) + 1, int(left * width) : int(right * width) + 1]
    shift = np.array([[1, 0, int(left * width)], [0, 1, int(top * height)], [0, 0, 1]], np.float64)
    return keypoints.extract(np.ascontiguousarray(window), None, SIDES, FEATURES).moved(shift)


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
    return Sighting(candidate, odds, inliers, to_photo, np.asarray(outline, np.float64), compared)


def _settled(seen: list[Sighting]) -> list[Sighting]:
    """Sightings, likeliest first, rivals of the best having been compared with it where the two pins'
    pictures differ: the one the photograph resembles less there falls back."""
    if not seen:
        return seen
    best, *rest = seen
    others = []
    for rival in rest:
        if best.odds - rival.odds < CLOSE and overlap(best.outline, rival.outline) > SAME_PLACE:
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


def identify(source: Source, rgb: Image, region: Region | None = None) -> Match:
    """The search by the front alone. `region` is where somebody says the pin is: a hint."""
    unusable = _unusable(source)
    if unusable:
        return _unclaimed(source, unusable)
    seen = look(source, rgb, region=region)
    beside = _beside(seen)
    match = _conclude(source, _fits([one for one in seen if one not in beside], View.FRONT))
    if match.identified and beside:
        main = seen[0]
        others = [one for one in look_everywhere(source, rgb) if _elsewhere(one, main)] or beside
        match = dataclasses.replace(match, also_seen=_also_seen(source, others, rgb))
    return match


def identify_tilted(source: Source, rgb: Image, first: Match, region: Region | None = None) -> Match:
    """The search by the tilted view, the candidates of the front tried as well."""
    unusable = _unusable(source)
    if unusable:
        return _unclaimed(source, unusable)
    also = [number for one in first.candidates if (number := source.number(one.pin.pin_id)) is not None]
    seen = look(source, rgb, also, region)
    known = next((one for one in seen if also and one.candidate.number == also[0]), None)
    if known is not None and first.identified:  # the front says which of several pins is meant
        seen = [known, *(one for one in seen if one is not known)]
    beside = _beside(seen)
    return _conclude(source, _fits([one for one in seen if one not in beside], View.ANGLED))


def _beside(seen: Sequence[Sighting]) -> list[Sighting]:
    """Pins found likely and in other places than the main one: no rivals of it."""
    return [one for one in seen[1:] if one.odds >= CLAIM_ODDS and _elsewhere(one, seen[0])]


def _elsewhere(one: Sighting, main: Sighting) -> bool:
    return one.candidate.number != main.candidate.number and overlap(one.outline, main.outline) < SAME_PLACE


def _also_seen(source: Source, seen: Sequence[Sighting], rgb: Image) -> tuple[AlsoSeen, ...]:
    pins = source.numbered([one.candidate.number for one in seen])
    return tuple(
        AlsoSeen(pins[one.candidate.number], box_of(one, rgb), 1 / (1 + math.exp(-one.odds)))
        for one in seen
        if one.candidate.number in pins
    )


def box_of(sighting: Sighting, rgb: Image) -> tuple[float, float, float, float]:
    """x, y, width, height of a sighting as shares of the photograph."""
    size = np.array([rgb.shape[1], rgb.shape[0]])
    low = np.clip(sighting.outline.min(0) / size, 0, 1)
    high = np.clip(sighting.outline.max(0) / size, 0, 1)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def refine(
    source: Source, first: Match, tilted: Match | None, back: PreparedView | None, stamp: StampReading | None
) -> Match:
    """The search with all views: what front and tilted view found, joined by the back and its stamp."""
    if _unusable(source):
        return dataclasses.replace(first, decided=True)
    fits = _remembered(source, first)
    if tilted is not None:
        fits = _joined(fits, _remembered(source, tilted))
    if stamp is not None:
        fits = _with_stamp(source, fits, stamp)
    if back is not None and back.pin is not None:
        fits = _with_back(source, fits, back)
    return dataclasses.replace(_conclude(source, fits), decided=True, also_seen=first.also_seen)


def _unusable(source: Source) -> str:
    if not source.size:
        return EMPTY
    return OUTDATED if source.outdated else ""


def _fits(seen: Sequence[Sighting], view: View) -> dict[int, _Fit]:
    return {
        one.candidate.number: _Fit(
            one.odds, one.inliers, {view: np.asarray(np.linalg.inv(one.to_photo), np.float64)}
        )
        for one in seen
    }


def _joined(fits: dict[int, _Fit], tilted: dict[int, _Fit]) -> dict[int, _Fit]:
    joined = {}
    for number in fits.keys() | tilted.keys():
        one, other = fits.get(number), tilted.get(number)
        front = one.odds if one else NOT_SEEN
        total = front + TILTED_WEIGHT * (other.odds if other else NOT_SEEN)
        parts = [part for part in (one, other) if part is not None]
        laid = {view: matrix for part in parts for view, matrix in part.laid.items()}
        joined[number] = _Fit(total, sum(part.inliers for part in parts), laid)
    return joined


def _with_stamp(source: Source, fits: dict[int, _Fit], stamp: StampReading) -> dict[int, _Fit]:
    """The fits with what the back says. That counterfeits copy codes does not matter here: they copy the
    pin's own. A pin the pictures did not bring up is listed by its code, never claimed by it."""
    if stamp.factory_code:
        named = source.by_code(stamp_key.factory_key(stamp.factory_code))
        fits = {number: _Fit(2 * NOT_SEEN - stamp_key.EXACT_CODE, 0) for number in named} | fits
    pins = source.numbered(fits)
    return {
        number: dataclasses.replace(fit, odds=fit.odds + stamp_key.log_odds(stamp, pins[number]))
        for number, fit in fits.items()
        if number in pins
    }


def _with_back(source: Source, fits: dict[int, _Fit], back: PreparedView) -> dict[int, _Fit]:
    """The fits, those in front with their backs compared. A pin whose back the catalogue lacks stays as it
    is."""
    assert back.pin is not None
    portrait = Portrait.of(back.pin.rgb, back.pin.crop_mask)
    best = sorted(fits, key=lambda number: -fits[number].odds)[:BACKS]
    pins = source.numbered(best)
    compared = dict(fits)
    for number in best:
        fit = fits[number]
        if number not in pins or fit.odds < fits[best[0]].odds - BACKS_BEHIND:
            continue
        reference = source.reference(pins[number].pin_id, View.BACK)
        if reference is None:
            continue
        known = Portrait.of(reference.rgb, reference.mask)
        to_query = alignment.register(portrait, known).to_query
        alike = likeness.compare(portrait, known, to_query)
        laid = fit.laid
        if alike is not None and alike.outline >= alignment.BACK_OVERLAP:
            laid = laid | {View.BACK: np.asarray(np.linalg.inv(to_query) @ back.pin.to_crop, np.float64)}
        odds = fit.odds + likeness.back_log_odds(alike)
        compared[number] = dataclasses.replace(fit, odds=odds, laid=laid)
    return compared


def _remembered(source: Source, match: Match) -> dict[int, _Fit]:
    """The fits behind a match's candidates: their odds are against "none of them", whose share is what is
    left."""
    none = max(1 - sum(candidate.score for candidate in match.candidates), LEAST)
    fits = {}
    for candidate in match.candidates:
        number = source.number(candidate.pin.pin_id)
        if number is not None:
            odds = math.log(max(candidate.score, LEAST) / none)
            fits[number] = _Fit(odds, candidate.inliers, candidate.laid)
    return fits


def _conclude(source: Source, fits: dict[int, _Fit]) -> Match:
    """Odds into probabilities that share one pin among them, and a claim where they allow it."""
    best = sorted(fits.items(), key=lambda item: -item[1].odds)[:CANDIDATES]
    pins = source.numbered([number for number, _ in best])
    ranked = [(pins[number], fit) for number, fit in best if number in pins]
    if not ranked:
        return _unclaimed(source, NO_MATCH)
    weights = [math.exp(min(fit.odds, 30.0)) for _, fit in ranked]
    total = 1 + sum(weights)  # 1 stands for "none of them"
    candidates = tuple(
        MatchCandidate(pin, weight / total, fit.inliers, fit.laid)
        for (pin, fit), weight in zip(ranked, weights, strict=True)
    )
    if candidates[0].score < CLAIM or not candidates[0].inliers:
        close = sum(candidate.score for candidate in candidates) >= CLAIM
        reason = TOO_CLOSE if close else NO_MATCH
        return dataclasses.replace(_unclaimed(source, reason), candidates=candidates)
    odds = [fit.odds for _, fit in ranked]
    lead = odds[0] - (odds[1] if len(odds) > 1 else NOT_SEEN)
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


def _unclaimed(source: Source, reason: str) -> Match:
    return Match(
        reason=reason,
        catalog_version=source.version,
        catalog_size=source.size,
        demonstration=source.demonstration,
    )
