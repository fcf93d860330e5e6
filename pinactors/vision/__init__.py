"""A second opinion from a vision-language model, for pins that the catalogue does not know.

Off unless the setting `vision_url` names a server of the OpenAI chat-completions API with images and
JSON-schema answers; needs the extra `vision`. Input: the photographs of a pin that was not identified.
Output: suggestions, which are displayed as such and do not affect results. The package is built like a
plug-in: it adds a shared step in its own loop, and wraps two components that use the step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pinactors.analysis.model import Match
from pinactors.analysis.report.suggestions import characters_with, details_with
from pinactors.pipeline.declaration import Analysis, Place, SharedStep
from pinactors.settings import Settings, SettingUnusable
from pinactors.vision.question import question

STEP, CONFIRMED = "suggestions", "match_suggested"


def declare(
    settings: Settings, analysis: Analysis, confirm: Callable[..., Match | None] | None = None
) -> Analysis:
    """`analysis` with suggestions in the components characters and details; unchanged if no server is named.

    `confirm(context, match, front, suggestions)` runs in a worker and returns the match with additional
    candidates: suggested pins that the photograph confirms. The component characters then uses this match.

    Raises `SettingUnusable` if the extra is not installed or no model is named.
    """
    if not settings.vision_url:
        return analysis
    if not settings.vision_model:
        raise SettingUnusable("vision_url is set, but vision_model does not name a model")
    try:
        from pinactors.vision.client import VisionClient
    except ImportError as error:
        raise SettingUnusable("vision_url needs the extra: pip install 'pinactors[vision]'") from error
    asked = SharedStep("vision_question", ("match", "front", "back"), question)
    suggested = SharedStep(
        STEP,
        ("vision_question", "owner"),
        VisionClient(settings).suggestions,
        place=Place.LOOP,
        seconds=settings.vision_seconds,
    )
    steps, instead = [asked, suggested], {}
    if confirm is not None:
        steps.append(SharedStep(CONFIRMED, ("match", "front", STEP), confirm))
        instead["match"] = CONFIRMED
    characters, details = analysis.component("characters"), analysis.component("details")
    needs = [instead.get(need, need) for need in characters.needs]
    components = [
        characters.wrapped(partial(characters_with, characters.full), (STEP, *needs)),
        details.wrapped(partial(details_with, details.full), (STEP, *details.needs)),
    ]
    return analysis.adding(steps, components)
