"""Declares the analysis: its shared steps and components, and the values that each of them needs.

The functions here run in worker processes: they open what the pure functions of `analysis` need (the
photograph's bytes, the catalogue) and call them. To add a component, add an entry in `declare`.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pinactors import plugins, vision
from pinactors.analysis.evidence import likelihood, stamp_picture, verdict
from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.matching import identification, suggested
from pinactors.analysis.model import DecodedPhotograph, Match, PreparedView, StampReading
from pinactors.analysis.report import characters, details, display, pricing
from pinactors.analysis.segmentation import prepare
from pinactors.analysis.stamp import ocr, reading
from pinactors.catalog import snapshots
from pinactors.catalog.reader import Catalog, is_demonstration
from pinactors.pipeline.declaration import Analysis, Component, SharedStep
from pinactors.protocol import (
    AuthenticationResult,
    CharacterIdentification,
    DetailedAnalysis,
    HtmlDisplayData,
    PricingAnalysis,
    Suggestion,
    View,
)
from pinactors.settings import Settings
from pinactors.storage.objects import open_objects
from pinactors.storage.stored_image import StoredImage

SUGGESTED_PINS = 40
"""Most catalogue pins that are compared with the photograph because a second engine's text names them."""


@dataclass(frozen=True, slots=True)
class Context:
    """The first argument of every function, besides its needs; small and picklable. `as_of` None means today;
    `calibration` is the JSON of evidence weights, empty for the weights in the package;
    `storage` is the object store of a published catalogue, empty for an unpublished one."""

    catalog: str
    max_pixels: int
    as_of: dt.date | None = None
    calibration: str = ""
    storage: str = ""


def read_front(context: Context, image: StoredImage) -> DecodedPhotograph:
    return _read(context, image, View.FRONT)


def read_angled(context: Context, image: StoredImage) -> DecodedPhotograph:
    return _read(context, image, View.ANGLED)


def prepare_back(context: Context, image: StoredImage) -> PreparedView:
    return prepare.cut_out(_read(context, image, View.BACK))


def _read(context: Context, image: StoredImage, view: View) -> DecodedPhotograph:
    return decode(Path(image.path).read_bytes(), view, context.max_pixels, image.sha256)


def prepare_view(context: Context, picture: DecodedPhotograph, match: Match) -> PreparedView:
    return prepare.cut_out(picture, match)


def prepare_unmatched(context: Context, picture: DecodedPhotograph) -> PreparedView:
    """The view prepared without a match, for basic analysis."""
    return prepare.cut_out(picture)


def read_stamp(context: Context, back: PreparedView) -> StampReading:
    return reading.read(back)


def read_known_place(
    context: Context, back: PreparedView | None, stamp: StampReading | None, match: Match
) -> StampReading | None:
    """The reading, improved with the catalogue picture of the claimed pin's back."""
    if back is None or stamp is None:
        return stamp
    return stamp_picture.read_at_known_place(back, stamp, match)


def _catalog(context: Context) -> str:
    """The catalogue's folder on the machine that runs this function. A published catalogue is fetched first
    if this machine does not have the master's folder."""
    folder = Path(context.catalog)
    if not context.storage or folder.is_dir():
        return context.catalog
    cache = Path(tempfile.gettempdir()) / f"pinactors-{os.getuid()}" / "catalogs"
    return str(snapshots.fetch(folder.name, open_objects(Settings(storage=context.storage)), cache))


def match_front(context: Context, front: DecodedPhotograph, image: StoredImage) -> Match:
    catalog = Catalog.open(_catalog(context))
    with catalog.connected:
        return identification.identify(catalog, front.rgb, image.region)


def match_angled(
    context: Context, angled: DecodedPhotograph | None, image: StoredImage | None, first: Match
) -> Match | None:
    if angled is None or image is None:
        return None
    catalog = Catalog.open(_catalog(context))
    with catalog.connected:
        return identification.identify_tilted(catalog, angled.rgb, first, image.region)


def match_all(
    context: Context,
    first: Match,
    tilted: Match | None,
    back: PreparedView | None,
    stamp: StampReading | None,
) -> Match:
    catalog = Catalog.open(_catalog(context))
    with catalog.connected:
        return identification.refine(catalog, first, tilted, back, stamp)


def match_suggested(
    context: Context,
    match: Match | None,
    front: PreparedView | None,
    suggestions: Sequence[Suggestion] | None,
) -> Match | None:
    """`match` with additional candidates: pins that a second engine names and the photograph confirms."""
    if match is None or front is None or not suggestions:
        return match
    catalog = Catalog.open(_catalog(context))
    if not catalog.size:
        return match
    texts = [one.text for one in suggestions if one.kind in ("character", "series", "inscription")]
    with catalog.connected:
        return suggested.with_named(catalog, match, front.rgb, catalog.named(texts, SUGGESTED_PINS))


def authenticity_full(
    context: Context,
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
    match: Match,
) -> AuthenticationResult:
    return verdict.assess(front, back, angled, stamp, match, likelihood.calibration(context.calibration))


def authenticity_basic(
    context: Context, front: PreparedView, back: PreparedView | None
) -> AuthenticationResult:
    return verdict.assess_basic(front, back)


def characters_full(context: Context, match: Match) -> CharacterIdentification:
    return characters.describe(match)


def pricing_full(context: Context, match: Match) -> PricingAnalysis:
    return pricing.price(match, context.as_of or dt.datetime.now(dt.UTC).date())


def details_full(
    context: Context,
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
    match: Match,
) -> DetailedAnalysis:
    return details.describe(front, back, angled, stamp, match)


def details_basic(
    context: Context, front: PreparedView, back: PreparedView | None, angled: PreparedView | None
) -> DetailedAnalysis:
    return details.describe(front, back, angled, None, None)


def display_full(
    context: Context, front: PreparedView, back: PreparedView | None, angled: PreparedView | None
) -> HtmlDisplayData:
    return display.render(front, back, angled)


def warm() -> None:
    """Loads, in a worker, models that the functions above would otherwise load at the first photograph."""
    ocr.load_models()


def declare(
    settings: Settings,
    *,
    catalog: Path | None = None,
    as_of: dt.date | None = None,
    calibration: str = "",
) -> Analysis:
    """The five components and their shared steps, changed by the vision extra and by plug-ins.

    `calibration` is JSON that overrides the settings' file. Raises `OSError` or `ValueError` for a file of
    weights that cannot be used, and `SettingUnusable` for a plug-in that cannot be used.
    """
    try:
        if not calibration and settings.calibration:
            calibration = Path(settings.calibration).read_text("utf-8")
        likelihood.calibration(calibration)
    except ValueError as error:
        raise ValueError(f"calibration {settings.calibration}: {error}") from error
    folder = catalog or settings.catalog_folder
    context = Context(
        str(folder),
        settings.max_image_pixels,
        as_of,
        calibration,
        settings.storage if settings.catalog_version else "",
    )
    analysis = Analysis(
        context,
        demonstration=is_demonstration(folder),
        shared_steps=(
            SharedStep("front_picture", ("front_image",), read_front, early=True),
            SharedStep("front_match", ("front_picture", "front_image"), match_front, early=True),
            SharedStep("front", ("front_picture", "front_match"), prepare_view),
            SharedStep("front_unmatched", ("front_picture",), prepare_unmatched),
            SharedStep("back", ("back_image",), prepare_back),
            SharedStep("stamp_unmatched", ("back",), read_stamp),
            SharedStep("angled_picture", ("angled_image",), read_angled),
            SharedStep("angled_match", ("angled_picture", "angled_image", "front_match"), match_angled),
            SharedStep("angled", ("angled_picture", "angled_match"), prepare_view),
            SharedStep("angled_unmatched", ("angled_picture",), prepare_unmatched),
            SharedStep(
                "match",
                ("front_match", "angled_match", "back", "stamp_unmatched"),
                match_all,
                decided_by="front_match",
            ),
            SharedStep("stamp", ("back", "stamp_unmatched", "match"), read_known_place),
        ),
        components=(
            Component(
                "authenticity",
                AuthenticationResult,
                needs=("front", "back", "angled", "stamp", "match"),
                full=authenticity_full,
                basic_needs=("front_unmatched", "back"),
                basic=authenticity_basic,
                required=True,
            ),
            Component(
                "characters",
                CharacterIdentification,
                ("match",),
                characters_full,
                ("front_match",),
                characters_full,
            ),
            Component("pricing", PricingAnalysis, ("match",), pricing_full, ("front_match",), pricing_full),
            Component(
                "details",
                DetailedAnalysis,
                needs=("front", "back", "angled", "stamp", "match"),
                full=details_full,
                basic_needs=("front_unmatched", "back", "angled_unmatched"),
                basic=details_basic,
            ),
            Component(
                "display",
                HtmlDisplayData,
                needs=("front", "back", "angled"),
                full=display_full,
                basic_needs=("front_unmatched", "back", "angled_unmatched"),
                basic=display_full,
            ),
        ),
    )
    return plugins.apply(settings, vision.declare(settings, analysis, match_suggested))
