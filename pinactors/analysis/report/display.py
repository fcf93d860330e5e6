"""Makes the display packet: one HTML fragment per view with the photograph's quality and what was found."""

from __future__ import annotations

import numpy as np
from msgspec import UNSET

from pinactors.analysis.model import PreparedView, Quality
from pinactors.analysis.report import html
from pinactors.protocol import HtmlDisplayData

GOOD_SCORE, USABLE_SCORE = 0.75, 0.5
"""Quality scores from which a photograph is called good or usable."""

MAX_PROBLEMS = 5
PROBLEM_BYTES = 300
"""Largest size of a problem's text. Five problems, the outcome and the frame take less than 2,400 bytes, so
that three views fit in one packet."""


def render(front: PreparedView, back: PreparedView | None, angled: PreparedView | None) -> HtmlDisplayData:
    """The display packet; a view that was not sent has no fragment."""
    return HtmlDisplayData(
        front_html=_fragment(front),
        back_html=_fragment(back) if back else UNSET,
        angled_html=_fragment(angled) if angled else UNSET,
    )


def quality_in_words(quality: Quality) -> str:
    if quality.score >= GOOD_SCORE:
        return "good"
    return "usable" if quality.score >= USABLE_SCORE else "poor"


def _fragment(view: PreparedView) -> str:
    return html.render(
        "display.html",
        view=view.view.value,
        title=html.VIEW_TITLES[view.view],
        width=f"{view.width:,}",
        height=f"{view.height:,}",
        quality=quality_in_words(view.quality),
        found=_outcome(view),
        problems=[html.plain(problem, PROBLEM_BYTES) for problem in view.quality.problems[:MAX_PROBLEMS]],
    )


def _outcome(view: PreparedView) -> str:
    if view.pin is None:
        return f"No pin was found. {html.plain(view.pin_problem, PROBLEM_BYTES)}".strip()
    share = max(1, round(100 * np.count_nonzero(view.pin.mask) / view.pin.mask.size))
    found = f"The pin covers {share} % of the picture and is {view.quality.short_side:,.0f} pixels across."
    if view.pin.cut_off:
        found += " Part of it is outside the picture: photograph it from further away."
    return found
