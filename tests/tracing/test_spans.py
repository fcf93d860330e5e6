"""Tests of spans without a receiver."""

from __future__ import annotations

from pinactors.tracing import NO_TRACING, SpanKind, correlation, ids

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FIELDS = [
    ("Traceparent", f"00-{TRACE}-{PARENT}-01"),
    ("Tracestate", "vendor=1"),
    ("X-Request-ID", "edge-17"),
    ("Authorization", "Bearer secret"),
]


def test_without_a_receiver_there_is_one_object_that_passes_on_what_came() -> None:
    span = NO_TRACING.begin("upload", FIELDS, size=3)
    with span as same, span.child("session", SpanKind.CLIENT, session="1") as child:
        child.note(outcome="full")
        assert same is span is child
    span.end(ValueError())
    assert span.correlation == correlation(FIELDS)
    assert ids(span.correlation) == {"request": "edge-17", "trace": TRACE}
