"""The values that one analysis step passes to the next: plain data without computation.

Pixels are uint8, RGB, row-major (height, width, 3); masks uint8 (height, width), 0 or 255; points float32 (n,
2) as x, y in pixels. "Working" pixels are those of `PreparedView.rgb`; "crop" pixels those of `Cutout.rgb`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pinactors.protocol import Box, View

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Points = Floats
Matrix = Doubles

WORKING_SIDE = 1600
"""Longest side of the working picture; smaller photographs (1,400 pixels, for example) are not scaled."""

CROP_SIDE = 512
"""Side of the square crop in which pins are compared."""

MAX_CANDIDATES = 5
"""Number of candidates that a match has and an answer names, at most."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of a photograph, measured on the pin if one was found, else on the whole photograph.

    `sharpness` is an edge width in working pixels (smaller is sharper), `exposure` the mean of L* over 100,
    `clipped` the share of blown highlights, `glare` the share of the pin under a soft-edged highlight,
    `short_side` the pin's shorter side in pixels of the photograph as sent. `score` (0 to 1) combines them;
    `problems` are sentences for the user that say how to take a better photograph.
    """

    sharpness: float
    exposure: float
    clipped: float
    glare: float
    short_side: float
    score: float
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Registered:
    """A catalogue pin's front that was registered on a photograph: `to_reference` (3x3) maps working pixels
    to the crop pixels of its `Reference`."""

    pin_id: str
    to_reference: Matrix


@dataclass(frozen=True, slots=True)
class Cutout:
    """The pin separated from its background: mask, outline and a square crop.

    `to_crop` maps working to crop pixels (3x3, similarity). `confidence` (0 to 1) is the confidence in the
    outline; `cut_off` is True if the outline runs along the photograph's border, so that part of the pin is
    outside. `registered` is the catalogue pin that the photograph was registered on, None if there is none.
    """

    mask: Image
    outline: Points
    rgb: Image
    crop_mask: Image
    to_crop: Matrix
    confidence: float
    cut_off: bool
    registered: Registered | None = None


@dataclass(frozen=True, slots=True)
class DecodedPhotograph:
    """One photograph, decoded, upright by EXIF, scaled to at most `WORKING_SIDE`.

    `width`, `height` are those of the photograph as sent (after EXIF); `scale` is working over sent pixels.
    """

    view: View
    width: int
    height: int
    scale: float
    media_type: str
    sha256: str
    rgb: Image


@dataclass(frozen=True, slots=True)
class PreparedView(DecodedPhotograph):
    """A photograph with its quality and its pin's cut-out. `pin` is None if no pin was found; `pin_problem`
    then says why, and `empty` is True if no region of the photograph could be a pin."""

    quality: Quality
    pin: Cutout | None
    pin_problem: str = ""
    empty: bool = False


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text. `quad` holds its four corners in working pixels, in reading order; `confidence` (0 to
    1) is that of the text recognition."""

    text: str
    confidence: float
    quad: Points


@dataclass(frozen=True, slots=True)
class StampReading:
    """The text read on the back's stamp. A field that was not read is None; if nothing was read, `reason`
    says why.

    `factory_code` has the form FAC-nnnnnn-YYDDD; `edition_number`/`edition_size` come from "n/N" or "LE N";
    `text_height` is the median letter height in pixels of the photograph as sent. `likely` holds, by field
    name, values that most readings gave but too few to count as read: they may be compared with the
    catalogue, but are never reported by themselves.
    """

    lines: tuple[TextLine, ...] = ()
    factory_code: str | None = None
    factory_code_confidence: float = 0.0
    year: int | None = None
    edition_number: int | None = None
    edition_size: int | None = None
    brand: str | None = None
    origin: str | None = None
    text_height: float = 0.0
    reason: str = ""
    likely: dict[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CatalogPin:
    pin_id: str
    name: str
    characters: tuple[str, ...]
    series: str | None
    year: int | None
    edition_size: int | None
    brand: str | None
    factory_code: str | None


@dataclass(frozen=True, slots=True)
class CatalogSale:
    sold_at: dt.date
    price: float
    currency: str
    condition: str
    source: str


def box_around(view: View, shares: Doubles) -> Box | None:
    """The box around points (n, 2), given as shares of a picture's width and height; None if there are no
    points or the box is empty."""
    if not len(shares):
        return None
    left, top = np.clip(shares.min(axis=0), 0, 1).tolist()
    right, bottom = np.clip(shares.max(axis=0), 0, 1).tolist()
    if right <= left or bottom <= top:
        return None
    return Box(view, round(left, 4), round(top, 4), round(right - left, 4), round(bottom - top, 4))


@dataclass(frozen=True, slots=True)
class Reference:
    """A catalogue picture, prepared as photographs are: crop pixels and their mask. If `outlined` is True the
    mask follows the pin; if not, no outline was found and the mask is the middle of the picture.

    `ground` is the mask of regions inside the outline that have the colour of the picture's plain ground:
    holes through which it is seen, or paint of that colour; None if there are none.
    """

    view: View
    rgb: Image
    mask: Image
    outlined: bool = True
    to_picture: Matrix | None = None
    """Maps crop pixels to shares of the catalogue picture's width and height (3x3); None if unknown."""
    ground: Image | None = None

    def region(self, points: Points) -> Box | None:
        """The box in the catalogue picture around points (n, 2) of the crop; None if there is no
        `to_picture`, there are no points or the box is empty."""
        if self.to_picture is None:
            return None
        corners = np.column_stack([points, np.ones(len(points))]) @ self.to_picture.T
        return box_around(self.view, corners[:, :2] / corners[:, 2:])


@dataclass(frozen=True, slots=True)
class MatchCandidate:
    """A catalogue pin that the photographs may show. `score` (0 to 1) is calibrated as the probability that
    they do; `inliers` is the number of verified keypoints.

    `to_reference` holds, for each view that was registered on a catalogue picture, the matrix (3x3) from
    working pixels to that picture's crop pixels.
    """

    pin: CatalogPin
    score: float
    inliers: int
    to_reference: dict[View, Matrix] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NeighbourPin:
    """Another catalogued pin in the photograph of the front: `box` x, y, width, height as shares of the
    photograph, `score` 0 to 1 the probability that it is there."""

    pin: CatalogPin
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, slots=True)
class Match:
    """The result of the catalogue search. `identified` requires a verified geometry and a margin over the
    second-best candidate.

    `decided` is True if further views would not change the result. `reason` tells the user why no pin is
    identified. `references` are the catalogue pictures of the identified pin, by view; `rates` the
    catalogue's exchange rates, in US dollars per unit of each currency; `also_seen` other pins in the front's
    photograph, likeliest first.
    """

    candidates: tuple[MatchCandidate, ...] = ()
    identified: bool = False
    decided: bool = False
    reason: str = ""
    catalog_version: str = ""
    catalog_size: int = 0
    demonstration: bool = False
    references: dict[View, Reference] = field(default_factory=dict)
    sales: tuple[CatalogSale, ...] = ()
    rates: dict[str, float] = field(default_factory=dict)
    also_seen: tuple[NeighbourPin, ...] = ()

    @property
    def pin(self) -> CatalogPin | None:
        """The identified pin; None if no pin is identified."""
        return self.candidates[0].pin if self.identified else None
