"""Components for real worker processes. `context` is a folder; files in it control each function."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from pinactors.pipeline.declaration import Analysis, Component, SharedStep
from pinactors.protocol import AuthenticationResult, DetailedAnalysis, HtmlDisplayData, Verdict
from pinactors.storage.stored_image import StoredImage


def warm() -> None:
    pass


def analysis(folder: Path) -> Analysis:
    return Analysis(
        context=str(folder),
        shared_steps=(SharedStep("front", ("front_image",), front),),
        components=(
            Component(
                "authenticity",
                AuthenticationResult,
                ("front",),
                authenticity,
                ("front",),
                authenticity,
                required=True,
            ),
            Component("details", DetailedAnalysis, ("front",), details, ("front",), None),
            Component("display", HtmlDisplayData, (), display, (), None),
        ),
    )


def front(folder: str, image: StoredImage) -> Any:
    _behave(folder, "front")
    return np.full((200, 200, 3), image.size, np.uint8)


def authenticity(folder: str, picture: Any) -> AuthenticationResult:
    _behave(folder, "authenticity")
    return AuthenticationResult(
        authentic=True,
        authenticity_rating=90,
        confidence=0.9,
        verdict=Verdict.AUTHENTIC,
        evidence=[],
    )


def details(folder: str, picture: Any) -> DetailedAnalysis:
    return DetailedAnalysis(analysis="", details={"sum": int(picture.sum()), "pid": os.getpid()})


def display(folder: str) -> HtmlDisplayData:
    return HtmlDisplayData(front_html="<p></p>")


def _behave(folder: str, name: str) -> None:
    """Writes the process id to `NAME.pid`, kills the process once for each file `NAME.die*`, and spins while
    `NAME.spin` exists."""
    part = Path(folder, f"{name}.part")
    part.write_text(str(os.getpid()))
    part.replace(Path(folder, f"{name}.pid"))
    for death in Path(folder).glob(f"{name}.die*"):
        death.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    while Path(folder, f"{name}.spin").exists():
        pass
