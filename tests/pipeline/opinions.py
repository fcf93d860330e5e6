"""A component that is not built in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
import trio.lowlevel

from pinactors.pipeline.declaration import Analysis, Component, Place
from pinactors.protocol import Packet
from tests.pipeline.fakes import ANALYSIS, Seen


class Opinion(Packet, tag="SECOND_OPINION", kw_only=True):
    opinion: str


async def good(context: Any, first: Seen) -> Opinion:
    await trio.lowlevel.checkpoint()
    return Opinion(opinion=first.text)


def component(full: Callable[..., Any], place: Place = Place.LOOP, **given: Any) -> Component:
    return Component("opinion", Opinion, ("front",), full, (), None, place=place, **given)


def with_component(full: Callable[..., Any], **given: Any) -> Analysis:
    return ANALYSIS.adding(components=[component(full, **given)])
