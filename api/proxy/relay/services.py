"""Objects that the proxy's sessions share, and the interface through which a session reaches the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio

from pinactors.api.health import Checks
from pinactors.api.proxy.masters.fleet import Master, Masters
from pinactors.api.proxy.metrics import ProxyMetrics
from pinactors.settings import Settings
from pinactors.storage.logs.packet_logs import StoredLog
from pinactors.tracing import NO_TRACING, Tracing

if TYPE_CHECKING:
    from pinactors.api.proxy.relay.session import RelayedSession


HOP = "proxy hop"
"""Name of the span of one request to a master."""


@dataclass(frozen=True, slots=True)
class ProxyServices:
    """Objects that all sessions share. `folder` has spools and journals; `disk` limits the threads that
    access spools."""

    masters: Masters
    settings: Settings
    metrics: ProxyMetrics
    folder: Path
    disk: trio.CapacityLimiter
    tracing: Tracing = NO_TRACING
    checks: Checks = field(default_factory=Checks)


class SessionDirectory(Protocol):
    """The other sessions, as one session uses them."""

    def claim(self, session: RelayedSession, master: Master, stream_id: str) -> RelayedSession | None:
        """Records that `session` relays this stream of `master`. Returns the session that relays it already,
        if there is one.

        Raises `NotPinactors` if the id belongs to a stream of another master.
        """
        ...

    def register(self, session: RelayedSession) -> None:
        """Makes the log of `session` findable by its stream id."""
        ...

    def journal(self, stream_id: str) -> StoredLog:
        """A new journal for the stream with that id."""
        ...
