"""Health, metrics, the service's card, feedback, CORS, and requests that no route answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from pinactors import __version__
from pinactors.api.answers import Card, Failure, Health, ProvisionalPins
from pinactors.api.health import Checks
from pinactors.api.openapi import description
from pinactors.api.server import serve
from pinactors.catalog.index import CURRENT_FILE
from pinactors.records import Records
from pinactors.settings import Settings
from tests.api import drawn
from tests.api.conftest import Process, Running
from tests.api.wire import JSON, ask, connected, json_body

UPLOAD = "/mobile-upload"
CONFIRM = "/api/mobile/confirm-pin"
PROVISIONAL = "/api/mobile/provisional-pins"


async def test_health(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await ask(server.port, "GET", "/health")
    body = answer.json()
    assert (answer.status, body["status"]) == (200, "ok")
    assert body["timestamp"].endswith("Z")
    assert body["version"] == __version__
    assert body["actors"]["sessions"] == 0
    assert body["actors"]["accepting"] is True
    assert body["queue"]["workers"] == 1
    assert "pids" not in body["queue"]
    assert body["database"] == {"available": True}
    assert body["catalogue"] == {"available": True, "pins": 0, "version": "", "demonstration": False}

    async def away(_: Records) -> bool:
        return False

    monkeypatch.setattr(Records, "check", away)
    answer = await ask(server.port, "GET", "/health")
    assert (answer.status, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["database"] == {"available": False}


async def test_folders_that_are_removed_while_it_runs_are_made_again(server: Running, tmp_path: Path) -> None:
    data = server.settings.data
    for number, name in enumerate(("images", "images/spool", "journal", "scratch", "uploads")):
        # Moved in one step: a file that the server writes meanwhile would stop a removal file by file.
        (data / name).rename(tmp_path / f"removed-{number}")
        body = json_body(frontImageData=b"PHOTO " + name.encode())
        answer = await ask(server.port, "POST", UPLOAD, body, JSON)
        assert (answer.status, answer.json()["missing"], answer.json()["degraded"]) == (200, [], []), name
        assert (await ask(server.port, "GET", "/readyz")).status == 200
    begun = {"Upload-Complete": "?0", "Upload-Draft-Interop-Version": "6"}
    assert (await ask(server.port, "POST", UPLOAD, b"{", JSON | begun)).status == 201


async def test_a_folder_that_is_needed_and_missing_counts_as_a_full_disk(tmp_path: Path) -> None:
    assert await Checks().disk([tmp_path], [tmp_path / "missing"])
    assert not await Checks().disk([tmp_path, tmp_path / "missing"])


async def test_a_damaged_catalogue_degrades_health(server: Running) -> None:
    server.settings.catalog_folder.mkdir(parents=True)
    (server.settings.catalog_folder / CURRENT_FILE).write_text("{")
    body = (await ask(server.port, "GET", "/health")).json()
    assert (body["status"], body["catalogue"]) == ("degraded", {"available": False})


async def test_a_catalogue_that_was_named_and_is_not_there_is_not_available(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", port=0, workers=1)
    async with trio.open_nursery() as nursery:
        start = partial(
            serve,
            settings,
            catalog=tmp_path / "TYPO",
            analysis=drawn.declare(settings),
            warm=drawn.warm,
            shutdown=trio.Event(),
        )
        port: int = await nursery.start(start)
        body = (await ask(port, "GET", "/health")).json()
        nursery.cancel_scope.cancel()
    assert (body["status"], body["catalogue"]) == ("degraded", {"available": False})


async def test_metrics_count_what_happened(server: Running) -> None:
    await ask(server.port, "POST", UPLOAD, json_body(sessionId="metrics", frontImageData=b"PHOTO"), JSON)
    answer = await ask(server.port, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.body.decode().splitlines()
    assert 'pinactors_sessions_total{outcome="complete"} 1.0' in lines
    assert 'pinactors_components_total{component="authenticity",outcome="full"} 1.0' in lines
    for name in (
        "pinactors_component_seconds_count",
        "pinactors_loop_stall_seconds_count",
        "pinactors_compute_queued",
        "pinactors_compute_restarts",
        "process_resident_memory_bytes",
    ):
        assert any(line.startswith(name) for line in lines), name
    assert "metrics" not in {line.partition("{")[2] for line in lines}


async def test_the_card_and_the_page(shared: Process) -> None:
    card = await ask(shared.port, "GET", "/")
    assert card.json()["service"] == "pinactors"
    assert card.json()["status"] == "running"
    assert card.json()["endpoints"]["upload"] == "POST /mobile-upload"
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5"):
        assert (await ask(shared.port, "GET", "/", headers={"Accept": accept})).json()["service"]
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    page = await ask(shared.port, "GET", "/", headers={"Accept": browser})
    assert page.headers["content-type"].startswith("text/html")


async def test_answers_are_of_the_types_that_describe_them(shared: Process) -> None:
    for path, kind in (
        ("/", Card),
        ("/health", Health),
        (PROVISIONAL, ProvisionalPins),
        ("/nowhere", Failure),
    ):
        body = (await ask(shared.port, "GET", path)).body
        assert msgspec.json.decode(msgspec.json.encode(msgspec.json.decode(body, type=kind))) == (
            msgspec.json.decode(body)
        )


class TestCors:
    @pytest.mark.parametrize("path", [UPLOAD, "/health", "/streams/x", PROVISIONAL, "/nowhere"])
    async def test_preflight_on_every_route(self, shared: Process, path: str) -> None:
        answer = await ask(shared.port, "OPTIONS", path, headers={"Origin": "https://pins.example"})
        assert (answer.status, answer.body) == (204, b"")
        assert "content-length" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == "*"
        allowed = "Content-Type, Authorization, x-api-key, x-session-id"
        assert answer.headers["access-control-allow-headers"] == allowed
        assert answer.headers["access-control-max-age"] == "86400"
        assert {"GET", "POST", "DELETE", "OPTIONS"} <= set(
            answer.headers["access-control-allow-methods"].split(", ")
        )

    async def test_our_headers_are_allowed_to_those_who_ask(self, shared: Process) -> None:
        asked = {"Access-Control-Request-Headers": "idempotency-key,content-type"}
        answer = await ask(shared.port, "OPTIONS", UPLOAD, headers=asked)
        assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
        assert "Last-Event-ID" not in answer.headers["access-control-allow-headers"]

    @pytest.mark.parametrize(
        "name", ["Cache-Control", "Pragma", "X-Requested-With", "Traceparent", "Upload-Offset"]
    )
    async def test_what_libraries_add_is_granted(self, shared: Process, name: str) -> None:
        asked = {"Access-Control-Request-Headers": f"{name.lower()}, content-type,,bad name"}
        answer = await ask(shared.port, "OPTIONS", UPLOAD, headers=asked)
        granted = answer.headers["access-control-allow-headers"].split(", ")
        assert granted == ["Content-Type", "Authorization", "x-api-key", "x-session-id", name]

    async def test_headers_asked_for_in_two_lines_are_all_granted(self, shared: Process) -> None:
        async with connected(shared.port) as wire:
            lines = "\r\n".join(f"Access-Control-Request-Headers: {name}" for name in ("pragma", "x-b"))
            await wire.send(f"OPTIONS {UPLOAD} HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n".encode())
            granted = (await wire.answer()).headers["access-control-allow-headers"]
        assert granted.endswith(", Pragma, X-B")

    async def test_answers_and_errors_can_be_read(self, shared: Process) -> None:
        for method, path in (("GET", "/health"), ("GET", "/nowhere"), ("PUT", "/health"), ("POST", UPLOAD)):
            answer = await ask(shared.port, method, path)
            assert answer.headers["access-control-allow-origin"] == "*", path
            assert "Stream-Next-Offset" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api//records", 404),
        ("PUT", "/health", 405),
        ("GET", UPLOAD, 405),
        ("GET", "/%00/\x7f", 400),
    ],
)
async def test_what_no_route_answers_has_the_same_shape(
    shared: Process, method: str, path: str, status: int
) -> None:
    answer = await ask(shared.port, method, path)
    assert answer.status == status
    body = answer.json()
    assert body["success"] is False
    assert {"message", "error", "errorCode", "sessionId", "timestamp"} <= body.keys()
    assert body["errorCode"] == ("not_found" if status == 404 else "invalid_format")
    if status == 405:
        assert answer.headers["allow"]


class TestFeedback:
    async def test_an_analysis_is_provisional_until_confirmed(self, server: Running) -> None:
        front = json_body(sessionId="fb", frontImageData=b"PHOTO fb")
        number = (await ask(server.port, "POST", UPLOAD, front, JSON)).json()["id"]
        listed = (await ask(server.port, "GET", PROVISIONAL)).json()
        assert listed["total"] == 1
        [pin] = listed["provisionalPins"]
        assert (pin["pinId"], pin["recordNumber"], pin["name"]) == ("fb", number, "")
        assert pin["createdAt"].endswith("Z")
        said = {"recordNumber": number, "pinId": "fb", "userAgreement": "disagree", "feedbackComment": "no"}
        said |= {"correctedVerdict": "counterfeit", "correctedPinId": "P17", "correctedPrice": 12.5}
        answer = await ask(server.port, "POST", CONFIRM, json_body(**said), JSON)
        body = answer.json()
        assert answer.status == 200
        assert {key: body[key] for key in said} == said
        assert (body["success"], body["sessionId"]) == (True, "fb")
        assert (await ask(server.port, "GET", PROVISIONAL)).json()["total"] == 0

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (b"", 400, "invalid_format"),
            (b"[]", 400, "invalid_format"),
            (b'{"a": \xff}', 400, "invalid_format"),
            (b"[" * 50_000, 400, "invalid_format"),
            (b'{"recordNumber": 1}', 400, "missing_fields"),
            (json_body(recordNumber=1, pinId="x", userAgreement="maybe"), 400, "invalid_agreement"),
            (json_body(recordNumber=[1], pinId="x", userAgreement="agree"), 400, "invalid_format"),
            (json_body(recordNumber=True, pinId="x", userAgreement="agree"), 400, "invalid_format"),
            (json_body(recordNumber=1, pinId=5, userAgreement="agree"), 400, "invalid_format"),
            (json_body(recordNumber=1, pinId="x", userAgreement=["agree"]), 400, "invalid_agreement"),
            (json_body(recordNumber=10**30, pinId="x", userAgreement="agree"), 404, "record_not_found"),
            (json_body(recordNumber=999, pinId="x", userAgreement="agree"), 404, "record_not_found"),
            (json_body(feedbackComment="x" * 70_000), 413, "too_large"),
        ],
    )
    async def test_bad_feedback(self, shared: Process, body: bytes, status: int, code: str) -> None:
        answer = await ask(shared.port, "POST", CONFIRM, body, JSON)
        assert (answer.status, answer.json()["errorCode"]) == (status, code)

    async def test_the_field_at_fault_is_named(self, shared: Process) -> None:
        right = {"recordNumber": 1, "pinId": "x", "userAgreement": "agree", "feedbackComment": "x"}
        right |= {"correctedVerdict": "authentic", "correctedPinId": "P1", "correctedPrice": 1}
        assert right.keys() == description()["components"]["schemas"]["PinConfirmation"]["properties"].keys()
        for name in right:
            answer = await ask(shared.port, "POST", CONFIRM, json_body(**right | {name: {}}), JSON)
            assert (answer.status, answer.json()["field"]) == (400, name)
            assert answer.json()["error"].startswith(name)
        beyond = {"feedbackComment": "x" * 2001, "correctedPinId": "x" * 65, "correctedPrice": 0}
        for name, value in beyond.items():
            answer = await ask(shared.port, "POST", CONFIRM, json_body(**right | {name: value}), JSON)
            assert (answer.status, answer.json()["field"]) == (400, name)

    async def test_an_empty_correction_is_none(self, shared: Process) -> None:
        right = {"recordNumber": 999, "pinId": "x", "userAgreement": "agree"}
        for name in ("correctedVerdict", "correctedPinId", "correctedPrice", "feedbackComment"):
            answer = await ask(shared.port, "POST", CONFIRM, json_body(**right | {name: ""}), JSON)
            assert (answer.status, answer.json()["errorCode"]) == (404, "record_not_found"), name

    async def test_what_cannot_be_read_is_said_truly(self, shared: Process) -> None:
        for body, reason in (
            (b"[]", "must be a JSON object"),
            (b'{"x": ' + b"[" * 50_000, "nested too deeply"),
            (b'{"a": \xff}', "not valid UTF-8"),
        ):
            assert reason in (await ask(shared.port, "POST", CONFIRM, body, JSON)).json()["error"]

    async def test_other_fields_are_ignored_whatever_they_hold(self, shared: Process) -> None:
        right = b'{"recordNumber": 999, "pinId": "x", "userAgreement": "agree", %b}'
        for extra in (b'"x": "\\ud800"', b'"\\udfff": {"y": 1e400}', b'"x": %b' % (b"9" * 5000), b'"x": NaN'):
            answer = await ask(shared.port, "POST", CONFIRM, right % extra, JSON)
            assert (answer.status, answer.json()["errorCode"]) == (404, "record_not_found"), extra
        half = b'"half of it: \\ud83d"'
        for name, value in (
            *((name, half) for name in (b"feedbackComment", b"pinId", b"userAgreement", b"correctedVerdict")),
            (b"correctedPrice", b"1e400"),
        ):
            answer = await ask(shared.port, "POST", CONFIRM, right % (b'"%b": %b' % (name, value)), JSON)
            assert (answer.status, answer.json()["field"]) == (400, name.decode())

    @pytest.mark.parametrize("query", ["limit=x", "offset=-1", "limit=" + "9" * 50, "limit=%C2%B2"])
    async def test_a_bad_page_is_refused(self, shared: Process, query: str) -> None:
        answer = await ask(shared.port, "GET", f"{PROVISIONAL}?{query}")
        assert (answer.status, answer.json()["errorCode"]) == (400, "invalid_format")
        assert "whole number of at most 9 digits" in answer.json()["error"]


def test_the_page_is_part_of_the_package() -> None:
    assert (Path(__file__).parents[2] / "api" / "page" / "templates" / "index.html").is_file()
