"""Spans recorded with OpenTelemetry's SDK and sent by OTLP over HTTP.

The SDK sends from its own thread, out of a queue that drops spans when it is full, so that recording a span
never waits. The standard `OTEL_…` variables set sampling, resource attributes, the header fields for the
receiver and the size of the queue.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Self

import trio
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pinactors import __version__
from pinactors.protocol import PinactorsError
from pinactors.tracing.correlation import correlation
from pinactors.tracing.spans import Attribute, Span, SpanKind, Tracing

PATH = "/v1/traces"
"""The path at which an OTLP receiver accepts spans (OTLP specification, OTLP/HTTP)."""

_W3C = TraceContextTextMapPropagator()
_KINDS = {kind: trace.SpanKind[kind.name] for kind in SpanKind}


class RecordedSpan(Span):
    """A span that is sent to the receiver when it ends, with attributes named `pinactors.…`."""

    __slots__ = ("_ended", "_span", "_tracer")

    def __init__(self, tracer: trace.Tracer, span: trace.Span, fields: Mapping[str, str]) -> None:
        super().__init__(fields)
        self._tracer, self._span = tracer, span
        self._ended = False

    @property
    def correlation(self) -> Mapping[str, str]:
        fields = {name: value for name, value in self._correlation.items() if name != "tracestate"}
        _W3C.inject(fields, self._context())
        return fields

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL, /, **attributes: Attribute) -> Span:
        span = self._tracer.start_span(name, self._context(), _KINDS[kind], _named(attributes))
        return RecordedSpan(self._tracer, span, self._correlation)

    def note(self, **attributes: Attribute) -> None:
        self._span.set_attributes(_named(attributes))

    def end(self, error: BaseException | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        if error is not None and _only_cancelled(error):
            self.note(cancelled=True)
        elif error is not None:
            reason = str(error.code) if isinstance(error, PinactorsError) else type(error).__name__
            self._span.set_status(trace.StatusCode.ERROR, reason)
        self._span.end()

    def _context(self) -> Context:
        return trace.set_span_in_context(self._span, Context())


class Recording(Tracing):
    """Begins spans and passes them to `processor` when they end. `close` sends the remaining ones and may
    block."""

    def __init__(self, processor: SpanProcessor, service: str) -> None:
        named = {SERVICE_VERSION: __version__}
        if not os.environ.get(OTEL_SERVICE_NAME):
            named[SERVICE_NAME] = service
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("pinactors", __version__)

    @classmethod
    def to(cls, url: str, service: str) -> Self:
        """A recording that sends to the OTLP receiver at `url`: `http://host:4318`, or the full URL with its
        path."""
        endpoint = url.rstrip("/")
        if not endpoint.endswith(PATH):
            endpoint += PATH
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint)), service)

    def begin(
        self,
        name: str,
        fields: Iterable[tuple[str, str]],
        kind: SpanKind = SpanKind.SERVER,
        /,
        **attributes: Attribute,
    ) -> Span:
        received = correlation(fields)
        context = _W3C.extract(received, Context())
        span = self._tracer.start_span(name, context, _KINDS[kind], _named(attributes))
        return RecordedSpan(self._tracer, span, received)

    def close(self) -> None:
        self._provider.shutdown()


def _only_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_only_cancelled(each) for each in error.exceptions)
    return isinstance(error, trio.Cancelled)


def _named(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {f"pinactors.{name}": value for name, value in attributes.items()}
