"""Fits the coefficients of cut-outs to photographs with outlined pins, and evaluates them on other pins.

`DIR/truth/outlines.jsonl` (or `photos_detail.jsonl`) has one JSON object per line:
`{"photo_id": "0001", "views": {"front": {"outline": [[x, y], ...]}}}`, in the photograph's pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.imaging.geometry import as_image, reduced
from pinactors.analysis.model import Doubles, Flags, Points
from pinactors.analysis.segmentation import outline, proposals
from pinactors.analysis.segmentation.proposal_score import (
    CONFIDENCE_NAMES,
    COVERING_OVERLAP,
    NAMES,
    SIGNS,
    Coefficients,
)
from pinactors.catalog.pictures import MAX_PIXELS
from pinactors.evaluation import metrics
from pinactors.evaluation.dataset import LabelledPhotoSet, PinKind
from pinactors.evaluation.minimisation import Limits, logistic_cost, minimised
from pinactors.protocol import View

OUTLINES = ("outlines.jsonl", "photos_detail.jsonl")

RIDGE_STRENGTH = 1.0
"""Weight of the squared distance from the coefficients from which a fit starts, in standard deviations of the
measure: coefficients that the photographs do not determine stay unchanged."""


@dataclass(frozen=True, slots=True)
class MeasuredPhoto:
    """The measures of one photograph: `regions` (n, `NAMES`) of the proposals and whether each `covers` the
    pin (n), `cut` (`CONFIDENCE_NAMES`) and whether it covers the pin. `pin` identifies the pin, for the
    folds."""

    pin: str
    regions: Doubles
    covers: Flags
    cut: Doubles
    cut_covers: bool


def outlines(folder: Path) -> dict[tuple[str, View], Points]:
    """The outlines of a labelled set by photo and view.

    Raises `FileNotFoundError` if there are none, `ValueError` with the line of a bad one.
    """
    path = next((path for name in OUTLINES if (path := folder / "truth" / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{folder} has no outlines: no truth/{OUTLINES[0]}")
    found = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                for view, seen in row["views"].items():
                    if seen.get("outline"):
                        points = np.array(seen["outline"], np.float32).reshape(-1, 2)
                        found[str(row["photo_id"]), View(view)] = points
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                raise ValueError(f"{path.name} line {number} is not an outline: {problem}") from None
    return found


def measure_photo(photo: LabelledPhotoSet, view: View, truth: Points | None) -> MeasuredPhoto | None:
    """The measures of a photograph's regions and cut; None if there are no proposals. `truth` is the pin's
    outline, None if there is no pin in the photograph. Raises `PinactorsError`, `OSError`."""
    picture = decode(photo.images[view].read_bytes(), view, MAX_PIXELS)
    small = reduced(reduced(picture.rgb, outline.FINE_SIDE), proposals.PICTURE_SIDE)
    scene = proposals.make_scene(small)
    ranked = outline.rank(scene)
    if not ranked:
        return None
    pin = np.zeros(small.shape[:2], np.uint8)
    if truth is not None:
        scale = np.array([small.shape[1] / picture.width, small.shape[0] / picture.height])
        cv2.fillPoly(pin, [np.rint(truth * scale).astype(np.int32)], 1)
    cut = outline.refine_best(scene, ranked)
    return MeasuredPhoto(
        photo.pin_id or photo.photo_id,
        np.array([candidate.measures.vector() for candidate in ranked]),
        np.array(
            [
                outline.overlap(candidate.proposal.mask, as_image(pin)) >= COVERING_OVERLAP
                for candidate in ranked
            ]
        ),
        np.array([*cut.measures.vector(), cut.agreement, cut.support]),
        outline.overlap(cut.mask, as_image(pin)) >= COVERING_OVERLAP,
    )


def views_of(
    photo: LabelledPhotoSet, known: dict[tuple[str, View], Points]
) -> list[tuple[View, Points | None]]:
    """The usable views: those with an outline, and every view of a photo set without a pin."""
    if photo.kind is PinKind.NOT_A_PIN:
        return [(view, None) for view in photo.images]
    return [(view, known[photo.photo_id, view]) for view in photo.images if (photo.photo_id, view) in known]


def fit(photos: Sequence[MeasuredPhoto], start: Coefficients) -> Coefficients:
    """Fitted coefficients, each with its sign (`SIGNS`) and near `start`. Those of regions maximise the
    likelihood of the covering regions among all regions of their picture (a softmax: the conditional logit of
    McFadden 1974, in which any covering region is right), those of cuts the likelihood of covering cuts
    (logistic).

    Raises `ValueError` unless some cuts cover their pin and others do not.
    """
    covering = np.array([measured.cut_covers for measured in photos])
    if not covering.any() or covering.all():
        raise ValueError("a fit needs photographs whose cut covers the pin and others")
    mixed = [measured for measured in photos if measured.covers.any() and not measured.covers.all()]
    cuts = np.column_stack([np.ones(len(photos)), [measured.cut for measured in photos]])
    region = start.region
    if mixed:
        stacked = np.concatenate([measured.regions for measured in mixed])
        region = _nearest(start.region, stacked.std(axis=0), NAMES, lambda w: _listwise(mixed, w))
    cut = _nearest(
        start.cut,
        cuts.std(axis=0),
        ("intercept", *CONFIDENCE_NAMES),
        lambda w: logistic_cost(cuts, covering, w),
    )
    return Coefficients(region, cut)


def _listwise(mixed: Sequence[MeasuredPhoto], weights: Doubles) -> tuple[float, Doubles]:
    """Negative log-likelihood of the covering regions and its gradient."""
    loss, gradient = 0.0, np.zeros(len(weights))
    for photo in mixed:
        odds = photo.regions @ weights
        share = np.exp(odds - odds.max())
        among = share * photo.covers
        loss += float(np.log(share.sum()) - np.log(among.sum()))
        gradient += photo.regions.T @ (share / share.sum() - among / among.sum())
    return loss, gradient


def _nearest(
    start: Doubles, spread: Doubles, names: Sequence[str], loss: Callable[[Doubles], tuple[float, Doubles]]
) -> Doubles:
    """The weights that minimise the loss plus a ridge around `start`, both of standardised weights, each with
    its sign."""
    scale = np.where(spread > 1e-9, spread, 1.0)
    limits: dict[int, Limits] = {1: (0.0, None), -1: (None, 0.0), 0: (None, None)}

    def total(standardised: Doubles) -> tuple[float, Doubles]:
        value, gradient = loss(standardised / scale)
        away = standardised - start * scale
        return value + 0.5 * RIDGE_STRENGTH * float(away @ away), gradient / scale + RIDGE_STRENGTH * away

    signs = [limits[SIGNS.get(name, 0)] for name in names]
    return np.round(minimised(total, start * scale, signs, gradient=True) / scale, 3) + 0.0


def out_of_fold(photos: Sequence[MeasuredPhoto], start: Coefficients, folds: int) -> dict[str, Any]:
    """Figures of all photographs, each under coefficients fitted to the other folds; folds are by pin."""
    fold = [metrics.fold_of(one.pin, folds) for one in photos]
    first: list[bool] = []
    sure: list[float] = []
    order: list[MeasuredPhoto] = []
    for left_out in range(folds):
        kept = [one for one, part in zip(photos, fold, strict=True) if part != left_out]
        judged = [one for one, part in zip(photos, fold, strict=True) if part == left_out]
        if not judged:
            continue
        fitted = fit(kept, start)
        for one in judged:
            first.append(bool(one.covers[int((one.regions @ fitted.region).argmax())]))
            sure.append(fitted.probability(one.cut))
        order += judged
    pins = [one.pin for one in order]
    named = np.array(pins)
    right = np.array([one.cut_covers for one in order])
    found = np.array(sure) >= outline.MIN_CONFIDENCE
    return {
        "best region covers the pin": metrics.share(first, pins),
        "cut called a pin, of those that cover one": metrics.share(found[right], named[right].tolist()),
        "cut called a pin, of the others": metrics.share(found[~right], named[~right].tolist()),
        "Brier score of the confidence": metrics.interval(metrics.brier, np.array(sure), right, pins=pins),
    }


def dump(fitted: Coefficients, fitted_on: str, figures: dict[str, Any]) -> str:
    """The JSON that replaces `pinactors/analysis/segmentation/score.json`."""
    model = {
        "fitted": fitted_on,
        "figures": {name: figure["value"] for name, figure in figures.items()},
        "region": dict(zip(NAMES, fitted.region.tolist(), strict=True)),
        "cut": dict(zip(("intercept", *CONFIDENCE_NAMES), fitted.cut.tolist(), strict=True)),
    }
    return json.dumps(model, indent=2) + "\n"
