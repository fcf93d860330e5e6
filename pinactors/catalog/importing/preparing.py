"""Prepares one row's pictures for the catalogue: decodes, reduces and cuts them out, computes features,
stores files.

The functions run in separate processes or threads. The files they write are named by their content, and no
row names a file before it is complete.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.matching import keypoints
from pinactors.analysis.matching.keypoints import Features
from pinactors.analysis.model import Image, Matrix
from pinactors.catalog import index, pictures
from pinactors.catalog.importing.rows import Row, RowError
from pinactors.catalog.pictures import GivenMask
from pinactors.protocol import PinactorsError, View

PICTURE_FOLDER = "pictures"

PICTURE_SIDES = 360, 320
"""Longest sides to which a catalogue picture is reduced for its lightness and its colour features. On a board
a pin is even smaller. With 480 and 400 the import took a third longer and fewer pins were found."""
MAX_FEATURES = 560
"""Most features of a catalogue picture: with their part of the index they take 53 kB."""
OUTLINE_MARGIN_PIXELS = 9
"""Size of the kernel (pixels) that dilates the mask for features: the patches of features near the outline
lie half inside it."""

NOT_OUTLINED_WARNING = "the pin does not stand out from its background, so the picture is used whole"
CUT_OFF_WARNING = "part of the pin is outside the picture"


@dataclass(frozen=True, slots=True)
class PreparedRow:
    """A row ready to be stored; `digest` is a hash of the row, its pictures and the version of the computed
    values."""

    row: Row
    digest: str
    pictures: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


def prepare_row(row: Row, known: str | None, target: Path) -> PreparedRow | None:
    """Prepares the row's pictures; None if the row's digest is `known`, so that the row is unchanged.

    Raises `RowError`, `OSError`.
    """
    cv2.setNumThreads(1)
    sources = ((View.FRONT, row.front), (View.BACK, row.back))
    contents = [(view, path.name, path.read_bytes()) for view, path in sources if path is not None]
    mask = row.mask.read_bytes() if row.mask else b""
    digest = hashlib.sha256(repr((keypoints.VERSION, sorted(row.values.items()), row.box)).encode())
    digest.update(hashlib.sha256(mask).digest())
    if row.lacking:  # an empty value clears the catalogue's, a missing column does not
        digest.update(repr(sorted(row.lacking)).encode())
    for view, _, data in contents:
        digest.update(f"{view}:{hashlib.sha256(data).hexdigest()};".encode())
    if digest.hexdigest() == known:
        return None
    prepared, warnings = [], []
    for view, name, data in contents:
        try:
            rgb = pictures.bounded(data, view)
            given = _given_mask(row, mask, data, rgb) if view is View.FRONT else None
            fields, notes = prepare_picture(target, view, rgb, given)
        except PinactorsError as error:
            raise RowError(f"{view}_image {name!r}: {error.detail}") from error
        prepared.append(fields)
        warnings += [f"{view}_image {name!r}: {note}" for note in notes]
    return PreparedRow(row, digest.hexdigest(), tuple(prepared), tuple(warnings))


def _given_mask(row: Row, mask: bytes, data: bytes, rgb: Image) -> GivenMask | None:
    """The pin's place from the row or from the picture's alpha channel; None if neither gives one."""
    height, width = rgb.shape[:2]
    if row.mask is not None:
        grey = cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_GRAYSCALE) if mask else None
        if grey is None:
            raise RowError(f"mask {row.mask.name!r} is not a picture")
        found = np.where(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA) > 127, 255, 0)
        if not 0 < np.count_nonzero(found) < found.size:
            raise RowError(f"mask {row.mask.name!r} must be white where the pin is and black elsewhere")
        return GivenMask(as_image(found), True)
    if row.box is not None:
        x, y, across, down = row.box
        found = np.zeros((height, width), np.uint8)
        left, top = round(x * width), round(y * height)
        bottom, right = round((y + down) * height), round((x + across) * width)
        found[top : max(top + 8, bottom), left : max(left + 8, right)] = 255
        return GivenMask(found, False)
    opaque = pictures.opaque(data, (width, height))
    return None if opaque is None else GivenMask(opaque, True)


def prepare_picture(
    target: Path, view: View, rgb: Image, given: GivenMask | None
) -> tuple[dict[str, Any], list[str]]:
    """The columns of the database row of a reduced picture, and warnings for a person. Raises `OSError`."""
    cut_out = pictures.segment(rgb, given)
    notes = [
        note
        for note, holds in ((NOT_OUTLINED_WARNING, not cut_out.outlined), (CUT_OFF_WARNING, cut_out.cut_off))
        if holds
    ]
    features = b""
    if view is View.FRONT:
        found = features_of(rgb, cut_out.whole).moved(cut_out.to_crop)
        features = found.take(np.flatnonzero((found.points >= 0).all(1))).encode()
    fields = {
        "view": str(view),
        "file": _keep(target, pictures.jpeg(rgb)),
        "crop": _keep(target, pictures.jpeg(cut_out.crop)),
        "mask": png(cut_out.mask),
        "outlined": cut_out.outlined,
        "given": None if given is None else png(given.mask),
        "features": features,
        "to_picture": _to_shares(cut_out.to_crop, rgb).astype("<f8").tobytes(),
    }
    return fields, notes


def features_of(rgb: Image, mask: Image) -> Features:
    """The features of a catalogue picture inside the pin's mask and just outside its outline."""
    around = cv2.dilate(mask, np.ones((OUTLINE_MARGIN_PIXELS, OUTLINE_MARGIN_PIXELS), np.uint8))
    return keypoints.extract(rgb, as_image(around), PICTURE_SIDES, MAX_FEATURES)


def prepare_again(target: Path, view: View, file: str, given: bytes | None, outlined: bool) -> dict[str, Any]:
    """Computes the columns of a stored picture again. Raises `OSError`, `ValueError`."""
    cv2.setNumThreads(1)
    bgr = cv2.imdecode(np.fromfile(target / PICTURE_FOLDER / file, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{target / PICTURE_FOLDER / file} is damaged")
    rgb = as_image(np.ascontiguousarray(bgr[..., ::-1]))
    known = None
    if given is not None:
        mask = cv2.imdecode(np.frombuffer(given, np.uint8), cv2.IMREAD_GRAYSCALE)
        known = GivenMask(as_image(mask), outlined)
    fields, _ = prepare_picture(target, view, rgb, known)
    return fields | {"file": file}


def _to_shares(to_crop: Matrix, rgb: Image) -> Matrix:
    """The mapping (3x3) from the crop's pixels to shares of the picture's width and height."""
    return np.asarray(np.diag([1 / rgb.shape[1], 1 / rgb.shape[0], 1.0]) @ np.linalg.inv(to_crop), np.float64)


def png(mask: Image) -> bytes:
    return bytes(cv2.imencode(".png", mask)[1].tobytes())


def _keep(target: Path, data: bytes) -> str:
    """Stores a picture under a name made from its content; returns the name relative to the pictures
    folder."""
    name = hashlib.sha256(data).hexdigest()[:32]
    path = target / PICTURE_FOLDER / name[:2] / f"{name}.jpg"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        index.write_durably(path, data)
    return f"{name[:2]}/{path.name}"
