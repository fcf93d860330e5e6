"""Opens the tracing of a process, and sends the recorded spans before the process ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from pinactors.settings import Settings, SettingUnusable
from pinactors.tracing.spans import NO_TRACING, Tracing

FLUSH_SECONDS = 5.0
"""How long the receiver may take to accept the last spans at shutdown."""


@asynccontextmanager
async def open_tracing(settings: Settings, service: str) -> AsyncIterator[Tracing]:
    """The tracing that the setting `tracing_url` configures. `service` names this process, unless
    `OTEL_SERVICE_NAME` does.

    Raises `SettingUnusable` if the extra `tracing` is needed and not installed.
    """
    if not settings.tracing_url:
        yield NO_TRACING
        return
    try:
        from pinactors.tracing.recording import Recording
    except ImportError as error:
        raise SettingUnusable(
            "tracing_url needs OpenTelemetry, which is not installed: pip install 'pinactors[tracing]'"
        ) from error
    limiter = trio.CapacityLimiter(1)
    recording = await trio.to_thread.run_sync(Recording.to, settings.tracing_url, service, limiter=limiter)
    try:
        yield recording
    finally:
        with trio.move_on_after(FLUSH_SECONDS, shield=True):
            await trio.to_thread.run_sync(recording.close, limiter=limiter, abandon_on_cancel=True)
