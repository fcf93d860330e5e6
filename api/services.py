"""The objects that the handlers use, bound to the application once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import prometheus_client
import trio
from quart import Response, current_app

from pinactors.api.health import Checks
from pinactors.storage.images import ImageStore
from pinactors.tracing import NO_TRACING, Tracing

if TYPE_CHECKING:
    from pinactors.api.admin.imports import Imports
    from pinactors.api.uploads.resumable.groups import Groups
    from pinactors.api.uploads.resumable.uploads import PartialUploads
    from pinactors.compute import Compute
    from pinactors.pipeline.registry import Registry
    from pinactors.records import Records
    from pinactors.settings import Settings

EXTENSION = "pinactors"

DISK_THREADS = 4
"""Threads that parse and write uploads; further uploads, and so their senders, wait."""


@dataclass(slots=True)
class Services:
    """Objects that the handlers use. `page` answers a browser's `GET /`; `catalog_folder` is the catalogue in
    use; `uploads` are the uploads that come in several requests, `groups` the groups of tus uploads that form
    one session, `imports` the imports into the catalogue."""

    registry: Registry
    records: Records
    compute: Compute
    settings: Settings
    store: ImageStore
    catalog_folder: Path
    metrics: prometheus_client.CollectorRegistry
    page: Callable[[], Awaitable[Response]] | None = None
    uploads: PartialUploads = field(init=False)
    groups: Groups = field(init=False)
    imports: Imports = field(init=False)
    checks: Checks = field(default_factory=Checks)
    tracing: Tracing = NO_TRACING
    disk: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(DISK_THREADS))


def current_services() -> Services:
    """The running application's services. Only inside a request or WebSocket."""
    return cast(Services, current_app.extensions[EXTENSION])
