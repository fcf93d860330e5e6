"""The probability of a catalogue match, fitted to labelled photographs and judged on pins it has not seen."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.matching import probability, sightings
from pinactors.catalog.reader import Catalog
from pinactors.evaluation.dataset import Kind, PhotoSet
from pinactors.evaluation.metrics import share
from pinactors.protocol import View

MAX_PIXELS = 64_000_000
IN_CATALOGUE = (Kind.GENUINE, Kind.COUNTERFEIT)


@dataclass(frozen=True, slots=True)
class Compared:
    """A front with the candidates that were registered on it: their measurements (`probability.NAMES`) and
    whether each is the pin photographed. `pin` names what it shows, for folds."""

    kind: Kind
    pin: str
    candidates: tuple[tuple[list[float], bool], ...]


def compare(catalog: Path, photo: PhotoSet) -> Compared:
    """Raises `PinactorsError`, `OSError`."""
    rgb = decode(photo.images[View.FRONT].read_bytes(), View.FRONT, MAX_PIXELS).rgb
    source = Catalog.open(catalog)
    with source.connected:
        seen = sightings.look(source, rgb)
        pins = source.numbered([one.candidate.number for one in seen])
    known = photo.pin_id if photo.kind in IN_CATALOGUE else None
    candidates = [
        (
            probability.measurements(one.comparison.agreement, one.candidate.outlined),
            pins[one.candidate.number].pin_id == known,
        )
        for one in seen
        if one.candidate.number in pins
    ]
    return Compared(photo.kind, photo.pin_id or photo.photo_id, tuple(candidates))


def fit(given: Sequence[Compared]) -> dict[str, Any]:
    """Intercept and coefficients by name, as `probability.json` holds them."""
    solution = _solution(given)
    return {
        "intercept": round(float(solution[0]), 4),
        "coefficients": {
            name: round(float(value), 4) for name, value in zip(probability.NAMES, solution[1:], strict=True)
        },
    }


def out_of_fold(given: Sequence[Compared], folds: int) -> dict[str, Any]:
    """Figures of each fold's photographs under coefficients fitted to the other folds, folds by pin."""
    fold = np.array([zlib.crc32(one.pin.encode()) % folds for one in given])
    fitted = [
        _solution([one for one, part in zip(given, fold, strict=True) if part != left_out])
        for left_out in range(folds)
    ]
    best: list[tuple[float, bool]] = []
    for one, part in zip(given, fold, strict=True):
        if not one.candidates:
            best.append((-np.inf, False))
            continue
        solution = fitted[part]
        odds = [float(solution[0] + np.dot(solution[1:], values)) for values, _ in one.candidates]
        first = int(np.argmax(odds))
        best.append((odds[first], one.candidates[first][1]))
    known = [index for index, one in enumerate(given) if one.kind in IN_CATALOGUE]
    others = [index for index, one in enumerate(given) if one.kind not in IN_CATALOGUE]
    claimed = [odds >= sightings.CLAIM_ODDS for odds, _ in best]
    pins = [given[index].pin for index in known]
    return {
        "recall@1": share([best[index][1] for index in known], pins),
        "claimed and right": share([claimed[index] and best[index][1] for index in known], pins),
        "claimed and wrong": share([claimed[index] and not best[index][1] for index in known], pins),
        "not in the catalogue, claimed": share([claimed[index] for index in others]),
    }


def _solution(given: Sequence[Compared]) -> npt.NDArray[np.float64]:
    rows = [candidate for one in given for candidate in one.candidates]
    return probability.fit([values for values, _ in rows], [right for _, right in rows])
