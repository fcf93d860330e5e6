"""The analysis as declared: which shared steps there are, which components, who needs what.

The functions here run in worker processes: they open what the pure functions of `analysis` need (the
photograph's bytes, the catalogue) and call them. Adding a component is one more entry in `declare`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from pinactors.analysis.evidence import likelihood, verdict
from pinactors.analysis.imaging import prepare
from pinactors.analysis.model import Match, PreparedView, StampReading
from pinactors.analysis.report import characters, details, display, pricing
from pinactors.analysis.stamp import ocr, reading
from pinactors.catalog import identify
from pinactors.pipeline.declaration import Analysis, Component, SharedStep
from pinactors.protocol import (
    AuthenticationResult,
    CharacterIdentification,
    DetailedAnalysis,
    HtmlDisplayData,
    PricingAnalysis,
    View,
)
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage


@dataclass(frozen=True, slots=True)
class Context:
    """What every function is given beside the values it needs; small and picklable. `as_of` None means today;
    `calibration` is the JSON of evidence weights, empty for the ones that ship."""

    catalog: str
    max_pixels: int
    as_of: dt.date | None = None
    calibration: str = ""


def prepare_front(context: Context, image: StoredImage) -> PreparedView:
    return _prepare(context, image, View.FRONT)


def prepare_back(context: Context, image: StoredImage) -> PreparedView:
    return _prepare(context, image, View.BACK)


def prepare_angled(context: Context, image: StoredImage) -> PreparedView:
    return _prepare(context, image, View.ANGLED)


def _prepare(context: Context, image: StoredImage, view: View) -> PreparedView:
    return prepare.prepare_view(Path(image.path).read_bytes(), view, image.sha256, context.max_pixels)


def read_stamp(context: Context, back: PreparedView) -> StampReading:
    return reading.read(back)


def match_front(context: Context, front: PreparedView) -> Match:
    return identify.identify(context.catalog, front)


def match_all(
    context: Context,
    first: Match,
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
) -> Match:
    return identify.refine(context.catalog, first, front, back, angled, stamp)


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
    """Loads, in a worker, what the functions above would otherwise load at the first photograph."""
    ocr.warm()


def declare(
    settings: Settings,
    *,
    catalog: Path | None = None,
    as_of: dt.date | None = None,
    calibration: str = "",
) -> Analysis:
    """The five components over the steps they share.

    `calibration` is JSON that overrides the settings' file. Raises `OSError` or `ValueError` for a file of
    weights that cannot be used.
    """
    if not calibration and settings.calibration:
        calibration = Path(settings.calibration).read_text("utf-8")
    likelihood.calibration(calibration)
    context = Context(str(catalog or settings.catalog_folder), settings.max_image_pixels, as_of, calibration)
    return Analysis(
        context,
        shared_steps=(
            SharedStep("front", ("front_image",), prepare_front),
            SharedStep("back", ("back_image",), prepare_back),
            SharedStep("angled", ("angled_image",), prepare_angled),
            SharedStep("stamp", ("back",), read_stamp),
            SharedStep("front_match", ("front",), match_front),
            SharedStep(
                "match",
                ("front_match", "front", "back", "angled", "stamp"),
                match_all,
                decided_by="front_match",
            ),
        ),
        components=(
            Component(
                "authenticity",
                AuthenticationResult,
                needs=("front", "back", "angled", "stamp", "match"),
                full=authenticity_full,
                basic_needs=("front", "back"),
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
                basic_needs=("front", "back", "angled"),
                basic=details_basic,
            ),
            Component(
                "display",
                HtmlDisplayData,
                needs=("front", "back", "angled"),
                full=display_full,
                basic_needs=("front",),
                basic=None,
            ),
        ),
    )
