"""Fits the probability of a catalogue match, by the front and by the back, to labelled photographs, and
evaluates it on other pins."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pinactors.analysis.imaging.colorimetry import lab_of_srgb, srgb_of_lab
from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import identification, probability, reranking, sightings, verification
from pinactors.analysis.matching.probability import Section
from pinactors.analysis.matching.reranking import CandidateFront
from pinactors.analysis.model import Doubles, Flags, Image
from pinactors.analysis.segmentation import prepare
from pinactors.catalog.importing import preparing
from pinactors.catalog.pictures import MAX_PIXELS
from pinactors.catalog.reader import Catalog
from pinactors.evaluation.dataset import CATALOGUED_KINDS, LabelledPhotoSet, PinKind
from pinactors.evaluation.metrics import auc, fold_of, interval, share
from pinactors.evaluation.minimisation import logistic_cost, minimised
from pinactors.protocol import View

RECOLOURED_EVERY = 2
"""One photograph in this many is also compared with its own pin in other hues. A pin whose drawing the
catalogue has in other colours is no match, but sets contain hardly any such pin."""
MIN_HUE_ROTATION_RADIANS = np.radians(60)
"""Least angle by which those hues are rotated: lights and cameras rotate hues by less."""

RIDGE_STRENGTH = 5.0
"""Weight of the squared coefficients of standardised measurements in the fit."""


Labelled = tuple[list[float], bool]
"""Measurements, and whether they are of the photographed pin."""


@dataclass(frozen=True, slots=True)
class ComparedPhoto:
    """A front with the candidates that were registered on it: their measurements (`probability.NAMES`) and
    whether each is the photographed pin. `pin` identifies the photographed pin, for the folds; `recoloured`
    are the measurements of its own catalogue picture in other hues, None if it was not compared. `backs` are
    the measurements (`probability.BACK_NAMES`) of the back compared with the candidates', with the same
    labels."""

    kind: PinKind
    pin: str
    candidates: tuple[Labelled, ...]
    recoloured: list[float] | None = None
    backs: tuple[Labelled, ...] = ()


def compare(catalog: Path, photo: LabelledPhotoSet) -> ComparedPhoto:
    """Searches the catalogue for a photo set's front, and compares its back with the candidates'. Raises
    `PinactorsError`, `OSError`."""
    rgb = decode(photo.images[View.FRONT].read_bytes(), View.FRONT, MAX_PIXELS).rgb
    source = Catalog.open(catalog)
    known = photo.pin_id if photo.kind in CATALOGUED_KINDS else None
    candidates, recoloured = [], None
    backs: list[Labelled] = []
    back = _back(photo)
    with source.connected:
        sightings_found = sightings.find_pins(source, rgb)
        pins = source.numbered([sighting.candidate.number for sighting in sightings_found])
        for sighting in sightings_found:
            if sighting.candidate.number in pins:
                correct = pins[sighting.candidate.number].pin_id == known
                values = probability.measurements(sighting.comparison.agreement, sighting.candidate.outlined)
                candidates.append((values, correct))
                chance = zlib.crc32(photo.photo_id.encode())
                if correct and chance % RECOLOURED_EVERY == 0:
                    recoloured = _recoloured(rgb, sighting.candidate, chance)
        if back is not None:
            for sighting in sightings_found[: identification.MAX_BACKS_COMPARED]:
                if (pin := pins.get(sighting.candidate.number)) is not None:
                    found = identification.compare_back(source, back, pin.pin_id)
                    alike = found[0] if found is not None else None
                    if alike is not None and alike.outline >= probability.MIN_OUTLINE_OVERLAP:
                        backs.append((probability.back_measurements(alike), pin.pin_id == known))
    return ComparedPhoto(
        photo.kind, photo.pin_id or photo.photo_id, tuple(candidates), recoloured, tuple(backs)
    )


def _back(photo: LabelledPhotoSet) -> Portrait | None:
    """The back as it is compared; None if there is none or it shows no pin."""
    if View.BACK not in photo.images:
        return None
    picture = decode(photo.images[View.BACK].read_bytes(), View.BACK, MAX_PIXELS)
    pin = prepare.cut_out(picture).pin
    return None if pin is None else Portrait.of(pin.rgb, pin.crop_mask)


def _recoloured(rgb: Image, candidate: CandidateFront, chance: int) -> list[float] | None:
    """The measurements of the candidate with rotated hues; None if it cannot be registered."""
    reference = candidate.reference
    angle = np.random.default_rng(chance).uniform(
        MIN_HUE_ROTATION_RADIANS, 2 * np.pi - MIN_HUE_ROTATION_RADIANS
    )
    recoloured = dataclasses.replace(reference, rgb=with_rotated_hues(reference.rgb, angle))
    features = preparing.features_of(recoloured.rgb, reference.mask)
    weights = np.full(len(features), candidate.weights.mean(), np.float32)
    variant = CandidateFront(candidate.number, features, weights, candidate.outlined, lambda: recoloured)
    query = sightings.features(rgb)
    found = verification.register(query, features)
    if found is None:
        return None
    compared = reranking.compare(rgb, query, variant, found)
    return probability.measurements(compared.agreement, variant.outlined)


def with_rotated_hues(rgb: Image, angle: float) -> Image:
    """The picture with a* and b* rotated by an angle (radians) and unchanged lightness."""
    lab = lab_of_srgb(rgb)
    cosine, sine = np.cos(angle), np.sin(angle)
    lab[..., 1:] = lab[..., 1:] @ np.array([[cosine, sine], [-sine, cosine]], np.float32)
    return as_image(np.round(srgb_of_lab(lab) * 255))


def fit(photos: Sequence[ComparedPhoto]) -> dict[Section, dict[str, Any]]:
    """Fitted intercept and coefficients by name of the front's and the back's model, in the form of
    `probability.json`; without the back's if the photographs have no backs of both kinds. Raises `ValueError`
    if no photograph has its own pin among its candidates."""
    models: dict[Section, dict[str, Any]] = {"front": _named(probability.NAMES, _solution(photos))}
    backs = [back for photo in photos for back in photo.backs]
    if len({right for _, right in backs}) == 2:
        models["back"] = _named(probability.BACK_NAMES, _solution_of(backs))
    return models


def _named(names: Sequence[str], solution: Doubles) -> dict[str, Any]:
    intercept, *coefficients = (round(float(value), 4) for value in solution)
    return {"intercept": intercept, "coefficients": dict(zip(names, coefficients, strict=True))}


def out_of_fold(photos: Sequence[ComparedPhoto], folds: int) -> dict[Section, dict[str, Any]]:
    """Figures of the models of `fit` on all photographs, each under coefficients fitted to the other folds;
    folds are by pin. Raises `ValueError` like `fit`."""
    figures: dict[Section, dict[str, Any]] = {"front": _fronts_out_of_fold(photos, folds)}
    if backs := _backs_out_of_fold(photos, folds):
        figures["back"] = backs
    return figures


def _backs_out_of_fold(photos: Sequence[ComparedPhoto], folds: int) -> dict[str, Any]:
    """How well the back's model separates a pin's own back from the other candidates'; {} if a fold has
    nothing to fit to."""
    rows = [back for photo in photos for back in photo.backs]
    pins = [photo.pin for photo in photos for _ in photo.backs]
    fold = np.array([fold_of(pin, folds) for pin in pins])
    odds = np.zeros(len(rows))
    for left_out in set(fold.tolist()):
        kept = [row for row, part in zip(rows, fold, strict=True) if part != left_out]
        if len({right for _, right in kept}) < 2:
            return {}
        solution = _solution_of(kept)
        for index in np.flatnonzero(fold == left_out):
            odds[index] = _log_odds(solution, rows[index][0])
    if not rows:
        return {}
    right = np.array([right for _, right in rows], bool)
    return {"own back against other candidates' backs, ROC AUC": interval(auc, odds, right, pins=pins)}


def _fronts_out_of_fold(photos: Sequence[ComparedPhoto], folds: int) -> dict[str, Any]:
    fold = [fold_of(photo.pin, folds) for photo in photos]
    fitted = [
        _solution([photo for photo, part in zip(photos, fold, strict=True) if part != left_out])
        for left_out in range(folds)
    ]
    best = []
    for photo, part in zip(photos, fold, strict=True):
        rated = [(_log_odds(fitted[part], values), right) for values, right in photo.candidates]
        best.append(max(rated, key=lambda one: one[0], default=(-np.inf, False)))
    known = [index for index, photo in enumerate(photos) if photo.kind in CATALOGUED_KINDS]
    others = [index for index, photo in enumerate(photos) if photo.kind not in CATALOGUED_KINDS]
    recoloured = [
        (photo.pin, _log_odds(fitted[part], photo.recoloured) >= sightings.CLAIM_ODDS)
        for photo, part in zip(photos, fold, strict=True)
        if photo.recoloured is not None
    ]
    claimed = [odds >= sightings.CLAIM_ODDS for odds, _ in best]
    pins = [photos[index].pin for index in known]
    return {
        "recall@1": share([best[index][1] for index in known], pins),
        "claimed and right": share([claimed[index] and best[index][1] for index in known], pins),
        "claimed and wrong": share([claimed[index] and not best[index][1] for index in known], pins),
        "not in the catalogue, claimed": share([claimed[index] for index in others]),
        "its picture in other hues, claimed": share(
            [claim for _, claim in recoloured], [pin for pin, _ in recoloured]
        ),
    }


def _log_odds(solution: Doubles, values: list[float]) -> float:
    """Log odds under fitted coefficients: the intercept, then those of `values`."""
    return float(solution[0] + np.dot(solution[1:], values))


def _solution(photos: Sequence[ComparedPhoto]) -> Doubles:
    rows = [candidate for photo in photos for candidate in photo.candidates]
    rows += [(photo.recoloured, False) for photo in photos if photo.recoloured is not None]
    if not any(right for _, right in rows):
        raise ValueError("nothing to fit: no front of these was found by its own catalogue picture")
    return _solution_of(rows)


def _solution_of(rows: Sequence[Labelled]) -> Doubles:
    return logistic_fit(np.array([values for values, _ in rows]), np.array([right for _, right in rows]))


def logistic_fit(inputs: Doubles, labels: Flags) -> Doubles:
    """(1 + columns): intercept and coefficients of a logistic regression with a ridge on the coefficients of
    the standardised columns."""
    middle, spread = inputs.mean(0), inputs.std(0) + 1e-9
    columns = np.column_stack([np.ones(len(inputs)), (inputs - middle) / spread])
    penalty = np.array([0.0, *[RIDGE_STRENGTH] * inputs.shape[1]])

    def cost(weights: Doubles) -> tuple[float, Doubles]:
        value, gradient = logistic_cost(columns, labels, weights)
        return value + 0.5 * float(penalty @ np.square(weights)), gradient + penalty * weights

    start = np.zeros(columns.shape[1])
    solution = minimised(cost, start, [(None, None)] * len(start), gradient=True)
    coefficients = solution[1:] / spread
    return np.concatenate([[solution[0] - coefficients @ middle], coefficients])
