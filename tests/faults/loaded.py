"""An analysis whose full function takes `COST` seconds of a worker and whose basic function almost none. It
waits for gates as `drawn` does."""

from __future__ import annotations

import time
from pathlib import Path

from pinactors.pipeline.declaration import Analysis, Component, SharedStep
from pinactors.protocol import AuthenticationResult, Verdict
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage
from tests.api import drawn

COST = 0.4


def warm() -> None:
    """Does nothing: the import of this module loads everything."""


def glance(max_pixels: int, image: StoredImage) -> int:
    drawn.hold(Path(image.path).read_bytes())
    return image.size


def authenticate(max_pixels: int, front: int) -> AuthenticationResult:
    time.sleep(COST)
    return glance_over(max_pixels, front)


def glance_over(max_pixels: int, front: int) -> AuthenticationResult:
    return AuthenticationResult(
        authentic=True, authenticity_rating=90, confidence=0.9, verdict=Verdict.AUTHENTIC, evidence=[]
    )


def declare(settings: Settings) -> Analysis:
    return Analysis(
        settings.max_image_pixels,
        shared_steps=(SharedStep("front", ("front_image",), glance),),
        components=(
            Component(
                "authenticity",
                AuthenticationResult,
                ("front",),
                authenticate,
                ("front",),
                glance_over,
                required=True,
            ),
        ),
    )
