"""The views of a pin that a client can send."""

from __future__ import annotations

from enum import StrEnum


class View(StrEnum):
    FRONT = "front"
    BACK = "back"
    ANGLED = "angled"
