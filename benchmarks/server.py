"""A server in a separate process for benchmarks: the real one, or one with components that do nothing.

`python -m benchmarks.server KIND '{"data": …}' [SPREAD]` prints its port. Kinds: `real` (the pin analysis);
`workers` (components that return immediately, in worker processes); `inline` (the same in the event loop,
each result up to SPREAD seconds after its session began, or never if the photograph has `HELD_BYTES` or more:
this measures only the pipeline and the connection); `burst` (the same, all results SPREAD seconds after the
begin).
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self
from unittest import mock

import trio

from pinactors import components, logs
from pinactors.api.launch import exempt_loaded_from_collection, return_freed_memory
from pinactors.api.server import serve
from pinactors.compute import GracePeriod, Handle, Priority
from pinactors.pipeline.declaration import Analysis, Component
from pinactors.protocol import (
    AuthenticationResult,
    CharacterIdentification,
    DetailedAnalysis,
    HtmlDisplayData,
    Packet,
    PricingAnalysis,
    Verdict,
)
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage

FILLER = "x" * 1000
"""Text that gives packets a typical size."""


HELD_BYTES = 200


def stamp() -> str:
    """The time at which the result exists, on a clock that all processes of a machine share; then the
    filler."""
    return f"@{time.perf_counter_ns()}@{FILLER}"


def authenticity(context: None, front: StoredImage) -> AuthenticationResult:
    return AuthenticationResult(
        authentic=True,
        authenticity_rating=90,
        confidence=0.9,
        verdict=Verdict.AUTHENTIC,
        evidence=[],
        note=stamp(),
    )


def characters(context: None, front: StoredImage) -> CharacterIdentification:
    return CharacterIdentification(characters="", identification=stamp(), candidates=[])


def pricing(context: None, front: StoredImage) -> PricingAnalysis:
    return PricingAnalysis(pricing=stamp(), estimate=None)


def details(context: None, front: StoredImage) -> DetailedAnalysis:
    return DetailedAnalysis(analysis=stamp(), details={})


def display(context: None, front: StoredImage) -> HtmlDisplayData:
    return HtmlDisplayData(front_html=stamp())


def declare_nothing() -> Analysis:
    """The declaration of five components that return immediately, without shared steps."""

    def component(
        name: str, packet: type[Packet], function: Callable[..., Packet], *, required: bool = False
    ) -> Component:
        return Component(name, packet, ("front_image",), function, ("front_image",), None, required)

    return Analysis(
        None,
        shared_steps=(),
        components=(
            component("authenticity", AuthenticationResult, authenticity, required=True),
            component("characters", CharacterIdentification, characters),
            component("pricing", PricingAnalysis, pricing),
            component("details", DetailedAnalysis, details),
            component("display", HtmlDisplayData, display),
        ),
    )


def nothing() -> None:
    """The warm-up function of workers that have nothing to load."""


class Inline:
    """A compute engine without processes: jobs run in the event loop, after a random pause or never."""

    seconds = 0.0

    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least, most

    @asynccontextmanager
    async def session(self, name: str, priority: Priority, grace: GracePeriod) -> AsyncIterator[Self]:
        yield self

    def statistics(self) -> dict[str, Any]:
        return {"workers": 1, "busy": 0, "queued": 0, "waiting": 0, "restarts": 0, "scratchFull": False}

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if any(isinstance(each, StoredImage) and each.size >= HELD_BYTES for each in arguments):
            await trio.sleep_forever()
        await trio.sleep(random.uniform(self._least, self._most))
        return function(*arguments)

    async def fetch(self, value: Any) -> Any:
        return value

    async def keep(self, function: Callable[..., Any], *arguments: Any, early: bool = False) -> Handle | None:
        raise NotImplementedError("these components share no steps")

    def stop(self) -> None:
        """Does nothing, because cancelled jobs have already ended."""


async def main(kind: str, settings: Settings, spread: float) -> None:
    @asynccontextmanager
    async def open_inline(
        settings: Settings, warm: Callable[[], Any], supervision: object
    ) -> AsyncIterator[Inline]:
        yield Inline(spread if kind == "burst" else 0.0, spread)

    logs.configure(settings)
    exempt_loaded_from_collection()
    return_freed_memory()
    async with trio.open_nursery() as nursery:
        if kind == "real":
            run = partial(serve, settings, analysis=components.declare(settings))
        else:
            run = partial(serve, settings, analysis=declare_nothing(), warm=nothing)
        if kind in ("inline", "burst"):
            with mock.patch("pinactors.api.server.open_compute", open_inline):
                port = await nursery.start(run)
        else:
            port = await nursery.start(run)
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(
        main,
        sys.argv[1],
        Settings(**json.loads(sys.argv[2])),
        float(sys.argv[3]) if len(sys.argv) > 3 else 0.0,
    )
