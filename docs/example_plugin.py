"""A complete plug-in: how bright the front is, as a packet type of its own.

Clients that do not know `BRIGHTNESS` ignore it. The component runs in a worker, where the pixels are.
"""

from __future__ import annotations

from typing import Any

from pinactors.pipeline.declaration import Analysis, Component
from pinactors.protocol import Packet
from pinactors.settings import Settings


class Brightness(Packet, tag="BRIGHTNESS", kw_only=True):
    """`brightness` is the mean of all pixels, 0 (black) to 1 (white)."""

    brightness: float


def measure(context: Any, front: Any) -> Brightness:
    """`front` is what the shared step of that name made of the photograph; `rgb` is its pixels."""
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
