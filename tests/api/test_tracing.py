"""Traces of uploads through proxy and master, as an OTLP receiver gets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.api.conftest import running
from tests.api.proxy.conftest import LIMIT, UPLOAD, assert_whole, proxying
from tests.api.rawsocket import opened
from tests.api.uploads.resumable.senders import Draft, Tus, body_of
from tests.api.wire import JSON, PHONE, ask, json_body
from tests.conftest import ErrorLogs

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Span:
    def __init__(self, service: str, told: Any) -> None:
        self.service, self.name = service, told.name
        self.trace = told.trace_id.hex()
        self.id, self.parent = told.span_id.hex(), told.parent_span_id.hex()
        self.error = told.status.message
        self.attributes = {pair.key: pair.value.string_value for pair in told.attributes}


class Receiver(ThreadingHTTPServer):
    """An OTLP receiver over HTTP, which collects spans."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.spans: list[Span] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def one(self, service: str, name: str, **attributes: str) -> Span:
        wanted = {f"pinactors.{key}": value for key, value in attributes.items()}.items()
        (span,) = [
            span
            for span in self.spans
            if (span.service, span.name) == (service, name) and wanted <= span.attributes.items()
        ]
        return span


class _Taking(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        assert self.headers.get("Content-Encoding") is None
        told = ExportTraceServiceRequest()
        told.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in told.resource_spans:
            (service,) = [
                pair.value.string_value for pair in resource.resource.attributes if pair.key == "service.name"
            ]
            self.server.spans += [Span(service, span) for each in resource.scope_spans for span in each.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Suppresses the request log."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


async def test_an_upload_through_the_proxy_is_one_trace(
    receiver: Receiver, tmp_path: Path, error_logs: ErrorLogs
) -> None:
    body = json_body(sessionId="traced", frontImageData=b"PHOTO", backImageData=b"PHOTO 2")
    named = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "x-request-id": "edge-17"}
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master", tracing_url=receiver.url) as master,
            proxying(
                tmp_path / "proxy",
                [f"http://127.0.0.1:{master.port}"],
                tracing_url=f"{receiver.url}/v1/traces",
            ) as port,
        ):
            assert_whole(await ask(port, "POST", UPLOAD, body, JSON | PHONE | named), "traced")
    here, there = "pinactors-proxy", "pinactors"
    assert {span.trace for span in receiver.spans if span.name != "proxy hop"} == {TRACE}
    sent = receiver.one(here, "upload")
    hop = receiver.one(here, "proxy hop", master=f"127.0.0.1:{master.port}")
    upload, session = receiver.one(there, "upload"), receiver.one(there, "session")
    assert sent.parent == "00f067aa0ba902b7"
    assert [hop.parent, upload.parent, session.parent] == [sent.id, hop.id, upload.id]
    assert session.attributes["pinactors.outcome"] == "complete"
    assert receiver.one(there, "record").parent == session.id
    for name in ("authenticity", "characters", "pricing", "details", "display"):
        component = receiver.one(there, "component", component=name, outcome="full")
        assert component.parent == session.id
        assert receiver.one(there, "job", work=name).parent == component.id
    for name in ("front", "back"):
        step = receiver.one(there, "shared step", step=name)
        assert step.parent == session.id
        assert receiver.one(there, "job", work=name).parent == step.id
    (ended,) = [line for line in error_logs.entries if line["event"] == "session ended"]
    assert (ended["trace"], ended["request"]) == (TRACE, "edge-17")


async def test_a_trace_that_begins_here_is_in_the_log(
    receiver: Receiver, tmp_path: Path, error_logs: ErrorLogs
) -> None:
    body = json_body(sessionId="untraced", frontImageData=b"PHOTO")
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(
                tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"], tracing_url=receiver.url
            ) as port,
        ):
            assert_whole(await ask(port, "POST", UPLOAD, body, JSON | PHONE))
            await ask(port, "GET", "/api/records")
    trace = receiver.one("pinactors-proxy", "upload").trace
    lines = [line for line in error_logs.entries if line["event"] == "request" and line["path"] == UPLOAD]
    assert [line["trace"] for line in lines] == [trace, trace], "the proxy's line and the master's"
    (forwarded,) = [span for span in receiver.spans if span.trace != trace and span.name == "proxy hop"]
    small = [
        line for line in error_logs.entries if line["event"] == "request" and line["path"] == "/api/records"
    ]
    assert [line["trace"] for line in small] == [forwarded.trace] * 2


async def test_every_way_of_uploading_has_a_span_that_ends(receiver: Receiver, tmp_path: Path) -> None:
    """Plain JSON is tested above; here a WebSocket, the IETF draft, tus, and packets during the upload."""
    traces = [f"{number:032x}" for number in range(1, 5)]
    fields = [{"traceparent": f"00-{trace}-00f067aa0ba902b7-01"} for trace in traces]
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master", tracing_url=receiver.url) as master,
            proxying(
                tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"], tracing_url=receiver.url
            ) as port,
        ):
            async with opened(port, fields[0]) as socket:
                await socket.send(sessionId="socket", images=["front"])
                await socket.send_photograph(b"PHOTO socket")
                await socket.until("ANALYSIS_COMPLETE")
            draft, content = Draft(port, headers=fields[1]), body_of("draft")
            created = await draft.create(content[:100])
            done = await draft.append(created.headers["location"], 100, content[100:], complete=True)
            assert done.types[-1] == "ANALYSIS_COMPLETE"
            tus = Tus(port, headers=fields[2])
            await tus.packets(await tus.send(b"PHOTO tus", sessionId="tus", view="front", complete="true"))
            early = JSON | PHONE | {"x-session-id": "early", "Prefer": "respond-early"} | fields[3]
            assert_whole(await ask(port, "POST", UPLOAD, json_body(frontImageData=b"PHOTO"), early), "early")
    for trace, session_id in zip(traces, ("socket", "draft", "tus", "early"), strict=True):
        session = receiver.one("pinactors", "session", session=session_id)
        assert session.trace == trace, session_id
        (upload,) = [span for span in receiver.spans if span.id == session.parent]
        assert (upload.service, upload.name) == ("pinactors", "upload")
        assert [span for span in receiver.spans if span.id == upload.parent], "the proxy's"


async def test_a_refused_upload_says_so(receiver: Receiver, tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with running(tmp_path, tracing_url=receiver.url) as master:
            for body in (b"{]", json_body(backImageData=b"PHOTO")):
                await ask(master.port, "POST", UPLOAD, body, JSON | PHONE)
    broken, frontless = (span for span in receiver.spans if span.name == "upload")
    assert (broken.error, frontless.error) == ("invalid_format", "")
    assert receiver.one("pinactors", "session").attributes["pinactors.outcome"] == "missing_image"
