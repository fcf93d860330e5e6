"""Structured logs of this program and its libraries, on standard error. They never contain keys or
photographs."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog
from hypercorn.config import Config

from pinactors.settings import Settings
from pinactors.tracing import Attribute, Span, SpanKind, Tracing, correlation, ids

_STREAM = re.compile(r"(/streams/[^/]{6})[^/]+")

PATH_LIMIT = 200

_CORRELATION = "pinactors.correlation"


def begin_logged(
    tracing: Tracing, asked: Any, name: str, kind: SpanKind = SpanKind.SERVER, /, **attributes: Attribute
) -> Span:
    """Begins the span `name` of `asked`, a request or WebSocket of Quart, and adds the span's ids to the log
    line of the request."""
    span = tracing.begin(name, asked.headers.items(), kind, **attributes)
    asked.scope[_CORRELATION] = span.correlation
    return span


def _logged(scope: Any) -> dict[str, str]:
    """`request` and `trace`: the ids of a request, from its span, or else from its header fields."""
    if _CORRELATION in scope:
        return ids(scope[_CORRELATION])
    fields = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope.get("headers", ()))
    return ids(correlation(fields))


def configure(settings: Settings) -> None:
    """Sets up structlog, and makes the standard library's loggers use it."""
    level = logging.getLevelName(settings.log_level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer: Any = structlog.processors.JSONRenderer()
    else:
        # Not structlog's default, which shows all local variables, such as keys, and takes a second for it.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))  # from libraries only warnings and errors
    logging.getLogger("pinactors").setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


class ServerLog:
    """Hypercorn's logger: one line per request. The path is logged percent-encoded as sent, so that clients
    cannot forge log lines; without the query; and with only the beginning of a stream id, because the id
    gives access to the stream."""

    def __init__(self, config: Config) -> None:
        self._log = structlog.get_logger("pinactors.api.access")

    async def access(self, scope: Any, response: Any, seconds: float) -> None:
        path = _STREAM.sub(r"\1…", scope["raw_path"].decode("ascii", "replace"))[:PATH_LIMIT]
        self._log.info(
            "request",
            method=scope.get("method", "WEBSOCKET"),
            path=path,
            status=response["status"] if response else None,
            milliseconds=round(1000 * seconds, 1),
            client=scope["client"][0] if scope.get("client") else None,
            **_logged(scope),
        )

    async def error(self, message: str, *arguments: Any, **_: Any) -> None:
        self._log.error(message % arguments if arguments else message)

    critical = warning = info = debug = error

    async def exception(self, message: str, *arguments: Any, **_: Any) -> None:
        self._log.exception(message % arguments if arguments else message)
