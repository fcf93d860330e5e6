"""What the proxy's sessions share, and what each has to know of the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio

from pinactors.api.health import Checks
from pinactors.api.proxy.masters.fleet import Master, Masters
from pinactors.api.proxy.metrics import Metrics
from pinactors.settings import Settings
from pinactors.storage.logs.packet_logs import StoredLog
from pinactors.tracing import NO_TRACING, Tracing

if TYPE_CHECKING:
    from pinactors.api.proxy.relay.session import RelayedSession


HOP = "proxy hop"
"""Name of the span of one request to a master."""


@dataclass(frozen=True, slots=True)
class ProxyServices:
    """`folder` has spools and journals; `disk` bounds the threads that read and write spools."""

    masters: Masters
    settings: Settings
    metrics: Metrics
    folder: Path
    disk: trio.CapacityLimiter
    tracing: Tracing = NO_TRACING
    checks: Checks = field(default_factory=Checks)


class Others(Protocol):
    """What a session has to know of the others."""

    def claim(self, session: RelayedSession, master: Master, stream_id: str) -> RelayedSession | None:
        """`session` relays this stream of `master` from now on; another one that does so already, instead.

        Raises `NotPinactors` for a name that belongs to a stream of another master.
        """
        ...

    def register(self, session: RelayedSession) -> None:
        """`session` has its log now."""
        ...

    def journal(self, stream_id: str) -> StoredLog:
        """A new journal for a session of that name."""
        ...
