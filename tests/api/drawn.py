"""A fast analysis for tests of the server. It decodes photographs, and fails on request as a decoder can.

A photograph may also be a text: `PHOTO…` is accepted without decoding, `CRASH` kills its worker, `SLEEP 2`
takes 2 s, `MEMORY` needs more memory than a worker may have. Of such a text the store keeps 16 bytes; of one
that begins with `LONG_PHOTO` it keeps all. The photographs of a `Gate` take until the test opens it.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pinactors.analysis.imaging.decode import decode
from pinactors.pipeline.declaration import Analysis, Component, SharedStep
from pinactors.protocol import (
    AuthenticationResult,
    CharacterIdentification,
    DetailedAnalysis,
    HtmlDisplayData,
    PricingAnalysis,
    Verdict,
    View,
)
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage

_SCAN = b"\xff\xd8\xff\xda\0\2"
"""The start of a JPEG without anything to remove."""

LONG_PHOTO = _SCAN + b"PHOTO"

BIG_HTML = 7000
"""Bytes of a display fragment, so that a session's answer is larger than small socket buffers."""

TOO_MUCH = 64 << 30
"""Bytes; more than any `worker_memory`."""

_HELD = b"HOLD "

HELD_SECONDS = 300
"""Seconds after which a held photograph fails, so that no worker stays behind if its gate is never opened."""


class Gate:
    """Photographs whose workers are busy until `open` is called, however fast or slow the machine is.

    `path` is the name of a file that does not exist yet; the workers wait for it. Work that begins after
    `open`, for example at another master, is not held.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def photograph(self, name: str = "") -> bytes:
        """A photograph that is held. With another `name` it is another photograph."""
        return _SCAN + _HELD + f"{self._path}\n{name}".encode()

    def open(self) -> None:
        """Lets all photographs pass, those that come later too."""
        self._path.touch()


def warm() -> None:
    """Does nothing: the import of this module loads everything."""


def hold(file: bytes) -> None:
    """Waits for the gate that `file` is a photograph of, if it is one."""
    data = file.removeprefix(_SCAN)
    if not data.startswith(_HELD):
        return
    path = Path(data.partition(b"\n")[0].removeprefix(_HELD).decode())
    until = time.monotonic() + HELD_SECONDS
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"nobody has opened {path}")
        time.sleep(0.01)


def _read(max_pixels: int, image: StoredImage, view: View) -> int:
    file = Path(image.path).read_bytes()
    data = file.removeprefix(_SCAN)
    if data.startswith(b"CRASH"):
        os.kill(os.getpid(), signal.SIGKILL)
    if data.startswith(b"MEMORY"):
        return len(bytearray(TOO_MUCH))
    if data.startswith(b"SLEEP"):
        time.sleep(float(data.split()[1]))
    elif data.startswith(_HELD):
        hold(file)
    elif not data.startswith(b"PHOTO"):
        decode(file, view, max_pixels)
    return len(file)


def read_front(max_pixels: int, image: StoredImage) -> int:
    return _read(max_pixels, image, View.FRONT)


def read_back(max_pixels: int, image: StoredImage) -> int:
    return _read(max_pixels, image, View.BACK)


def read_angled(max_pixels: int, image: StoredImage) -> int:
    return _read(max_pixels, image, View.ANGLED)


def authenticity(
    max_pixels: int, front: int, back: int | None = None, angled: int | None = None
) -> AuthenticationResult:
    return AuthenticationResult(
        authentic=True, authenticity_rating=90, confidence=0.9, verdict=Verdict.AUTHENTIC, evidence=[]
    )


def characters(max_pixels: int, front: int) -> CharacterIdentification:
    return CharacterIdentification(characters="", identification="<p>none</p>", candidates=[])


def pricing(max_pixels: int, front: int) -> PricingAnalysis:
    return PricingAnalysis(pricing="<p>none</p>", estimate=None)


def details(max_pixels: int, front: int, back: int | None, angled: int | None) -> DetailedAnalysis:
    sizes = {"front": front, "back": back, "angled": angled}
    return DetailedAnalysis(analysis="<p>sizes</p>", details={"bytes": sizes})


def display(max_pixels: int, front: int) -> HtmlDisplayData:
    return HtmlDisplayData(front_html="x" * BIG_HTML)


def declare(settings: Settings) -> Analysis:
    views = ("front", "back", "angled")
    return Analysis(
        settings.max_image_pixels,
        shared_steps=(
            SharedStep("front", ("front_image",), read_front),
            SharedStep("back", ("back_image",), read_back),
            SharedStep("angled", ("angled_image",), read_angled),
        ),
        components=(
            Component(
                "authenticity",
                AuthenticationResult,
                views,
                authenticity,
                ("front",),
                authenticity,
                required=True,
            ),
            Component("characters", CharacterIdentification, ("front",), characters, ("front",), None),
            Component("pricing", PricingAnalysis, ("front",), pricing, ("front",), None),
            Component("details", DetailedAnalysis, views, details, views, None),
            Component("display", HtmlDisplayData, ("front",), display, ("front",), None),
        ),
    )
