"""A complete plug-in: it measures the brightness of the front and sends it in a new packet type.

Clients ignore the packet type `BRIGHTNESS` if it is unknown to them. The component runs in a worker process,
which has the pixels.
"""

from __future__ import annotations

from typing import Any

from pinactors.pipeline.declaration import Analysis, Component
from pinactors.protocol import Packet
from pinactors.settings import Settings


class Brightness(Packet, tag="BRIGHTNESS", kw_only=True):
    """The brightness of the front: the mean of all pixels, 0 (black) to 1 (white)."""

    brightness: float


def measure(context: Any, front: Any) -> Brightness:
    """Measures the brightness. `front` is the value of the shared step of that name; `front.rgb` has the
    pixels."""
    return Brightness(brightness=round(float(front.rgb.mean()) / 255, 4))


def declare(settings: Settings, analysis: Analysis) -> Analysis:
    component = Component(
        "brightness",
        Brightness,
        needs=("front",),
        full=measure,
        basic_needs=(),
        basic=None,
        seconds=5.0,
    )
    return analysis.adding(components=[component])
