"""Metrics, the service's card, and feedback."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.api.openapi import description
from tests.api.conftest import Process, Running
from tests.api.wire import JSON, ask, json_body

UPLOAD = "/mobile-upload"
CONFIRM = "/api/mobile/confirm-pin"
PROVISIONAL = "/api/mobile/provisional-pins"


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

    async def test_a_page_may_be_named_by_the_words_for_no_value(self, shared: Process) -> None:
        """As of `?limit=${limit}` where there is none."""
        whole = (await ask(shared.port, "GET", PROVISIONAL)).json()["provisionalPins"]
        for query in ("limit=null&offset=undefined", "limit=&offset=nil"):
            answer = await ask(shared.port, "GET", f"{PROVISIONAL}?{query}")
            assert answer.json()["provisionalPins"] == whole, query


def test_the_page_is_part_of_the_package() -> None:
    assert (Path(__file__).parents[2] / "api" / "page" / "templates" / "index.html").is_file()
