"""The application: registers the modules with the routes, error handling and CORS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import prometheus_client
from quart_trio import QuartTrio

from pinactors.api import cors, errors, openapi, operations, tokens
from pinactors.api import records as records_api
from pinactors.api.admin import analyses, import_routes
from pinactors.api.admin import catalogue as catalogue_admin
from pinactors.api.admin.imports import Imports
from pinactors.api.http.body import ArrivingRequest, HTTPConnection, WebsocketConnection
from pinactors.api.page import catalogue, documents, pages, results
from pinactors.api.services import EXTENSION, Services
from pinactors.api.streams import durable_streams, websocket
from pinactors.api.uploads.resumable import draft, groups, tus
from pinactors.api.uploads.resumable.groups import Groups
from pinactors.api.uploads.resumable.uploads import PartialUploads
from pinactors.storage.images import open_image_store
from pinactors.storage.partial_uploads import PartialUploadStore
from pinactors.tracing import NO_TRACING, Tracing

if TYPE_CHECKING:
    from pinactors.compute import Compute
    from pinactors.pipeline.registry import Registry
    from pinactors.records import Records
    from pinactors.settings import Settings


class Application(QuartTrio):
    """A Quart application with error handling and CORS but without routes; the base of master and proxy."""

    asgi_http_class = HTTPConnection
    asgi_websocket_class = WebsocketConnection  # type: ignore[assignment]  # passes pieces to its handler
    request_class = ArrivingRequest

    @classmethod
    def bare(cls) -> Self:
        app = cls("pinactors", static_folder=None, template_folder=None)
        # Quart's limits would end a stream or an upload after 60 s and refuse more than 16 MB. The pipeline
        # limits the time instead, and `BodyReader` the size and the rate.
        app.config.update(
            RESPONSE_TIMEOUT=None, BODY_TIMEOUT=None, MAX_CONTENT_LENGTH=None, PROVIDE_AUTOMATIC_OPTIONS=False
        )
        app.url_map.merge_slashes = False  # a path with // would be redirected, in HTML
        errors.install(app)
        cors.install(app)
        return app


def create_app(
    registry: Registry,
    records: Records,
    compute: Compute,
    settings: Settings,
    *,
    catalog: Path | None = None,
    metrics: prometheus_client.CollectorRegistry | None = None,
    tracing: Tracing = NO_TRACING,
) -> Application:
    """Creates a master's application. The caller opens and closes the services that are passed in.

    Creates the folders of the image store; raises `SettingUnusable` if that is not possible. `metrics` is the
    registry that `/metrics` shows, `catalog` the folder of the catalogue in use.
    """
    app = Application.bare()
    store = open_image_store(settings)
    store.prepare()
    services = app.extensions[EXTENSION] = Services(
        registry,
        records,
        compute,
        settings,
        store,
        catalog or settings.catalog_folder,
        metrics or prometheus_client.CollectorRegistry(),
        page=pages.shell,
        tracing=tracing,
    )
    services.uploads = PartialUploads(services, PartialUploadStore(settings.uploads_folder))
    services.groups = Groups(services, services.uploads)
    services.imports = Imports(services)
    services.uploads.receivers = {
        draft.PROTOCOL: draft.receiver(services),
        groups.PROTOCOL: services.groups.receive,
    }
    for module in (
        draft,
        tus,
        durable_streams,
        websocket,
        operations,
        records_api,
        pages,
        documents,
        catalogue,
        results,
        tokens,
        analyses,
        catalogue_admin,
        import_routes,
    ):
        app.register_blueprint(module.blueprint)
    app.register_blueprint(openapi.blueprint_of("master"))
    return app
