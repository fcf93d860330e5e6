"""Distributed tracing: where a request and its session spend their time, over several servers.

Comes in: the header fields a request came with. Goes out: spans, to a receiver of OpenTelemetry's protocol,
and the header fields of a request to the next server. A span is handed down from caller to callee; nothing
here looks into the context of a task, and nothing knows what is traced. Without the setting `tracing_url` a
span is one object that records nothing and is its own child.
"""

from pinactors.tracing.correlation import correlation, ids
from pinactors.tracing.opening import open_tracing
from pinactors.tracing.spans import NO_SPAN, NO_TRACING, Attribute, Kind, Span, Tracing

__all__ = [
    "NO_SPAN",
    "NO_TRACING",
    "Attribute",
    "Kind",
    "Span",
    "Tracing",
    "correlation",
    "ids",
    "open_tracing",
]
