"""Tests of recorded spans: their parents, their status, and the fields sent to the next server."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind as RecordedKind
from opentelemetry.trace import StatusCode

from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.tracing import SpanKind, ids
from pinactors.tracing.recording import Recording

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FIELDS = [
    ("Traceparent", f"00-{TRACE}-{PARENT}-01"),
    ("Tracestate", "vendor=1"),
    ("X-Request-ID", "edge-17"),
    ("Authorization", "Bearer secret"),
]


class Recorded:
    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracing = Recording(SimpleSpanProcessor(self._exporter), "here")

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def one(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.name == name]
        return span


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def test_a_span_belongs_to_its_senders_trace_and_names_itself_to_the_next_server(recorded: Recorded) -> None:
    with (
        recorded.tracing.begin("upload", FIELDS) as span,
        span.child("hop", SpanKind.CLIENT, master="m") as hop,
    ):
        sent = hop.correlation
    upload, hopped = recorded.one("upload"), recorded.one("hop")
    assert upload.parent is not None
    assert hopped.parent is not None
    assert f"{upload.parent.trace_id:032x}/{upload.parent.span_id:016x}" == f"{TRACE}/{PARENT}"
    assert hopped.parent.span_id == upload.context.span_id
    assert sent == {
        "traceparent": f"00-{TRACE}-{hopped.context.span_id:016x}-01",
        "tracestate": "vendor=1",
        "x-request-id": "edge-17",
    }
    assert (upload.kind, hopped.kind) == (RecordedKind.SERVER, RecordedKind.CLIENT)
    assert hopped.attributes == {"pinactors.master": "m"}
    assert upload.resource.attributes["service.name"] == "here"


def test_a_request_without_a_trace_begins_one(recorded: Recorded) -> None:
    span = recorded.tracing.begin("upload", [("traceparent", "not one")])
    assert ids(span.correlation)["trace"] == f"{span.correlation['traceparent'].split('-')[1]}"
    span.end()
    assert recorded.one("upload").parent is None


def test_what_its_sender_does_not_sample_is_not_sent(recorded: Recorded) -> None:
    with recorded.tracing.begin("upload", [("traceparent", f"00-{TRACE}-{PARENT}-00")]) as span:
        with span.child("session"):
            pass
        assert span.correlation["traceparent"].endswith("-00")
    assert not recorded.spans


async def test_how_work_ended_is_said(recorded: Recorded) -> None:
    root = recorded.tracing.begin("upload", [])
    with pytest.raises(KeyError), root.child("raised"):
        raise KeyError("a photograph's name")
    with pytest.raises(PinactorsError), root.child("refused"):
        raise PinactorsError(ErrorCode.OVERLOADED, "No room")
    with trio.move_on_after(0), root.child("cancelled"):
        await trio.sleep_forever()
    root.end()
    root.end(ValueError())  # ignored: the span has ended
    raised, refused = recorded.one("raised").status, recorded.one("refused").status
    assert (raised.status_code, raised.description) == (StatusCode.ERROR, "KeyError")
    assert (refused.status_code, refused.description) == (StatusCode.ERROR, "overloaded")
    assert recorded.one("cancelled").attributes == {"pinactors.cancelled": True}
    assert recorded.one("cancelled").status.is_ok
    assert recorded.one("upload").status.is_ok
