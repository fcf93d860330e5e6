"""Distributed tracing: where a request and its session spend their time, across several servers.

Input: the header fields of a request. Output: spans, for a receiver of OpenTelemetry's protocol, and the
header fields for a request to the next server. Callers pass a span to their callees explicitly; task contexts
are not used, and nothing here depends on what is traced. Without the setting `tracing_url` a span is one
object that records nothing and is its own child.
"""

from pinactors.tracing.correlation import correlation, ids
from pinactors.tracing.opening import open_tracing
from pinactors.tracing.spans import NO_SPAN, NO_TRACING, Attribute, Span, SpanKind, Tracing

__all__ = [
    "NO_SPAN",
    "NO_TRACING",
    "Attribute",
    "Span",
    "SpanKind",
    "Tracing",
    "correlation",
    "ids",
    "open_tracing",
]
