"""Small requests, which the proxy forwards to a master."""

from __future__ import annotations

import trio

from tests.api.proxy.conftest import LIMIT, UPLOAD, Pair, upload
from tests.api.wire import JSON, MULTIPART, ask, json_body, multipart, part


async def test_small_requests_reach_the_master(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        answer = await upload(pair.proxy, "fb")
        feedback = {"recordNumber": answer.packets[-1]["id"], "pinId": "fb", "userAgreement": "agree"}
        confirmed = await ask(pair.proxy, "POST", "/api/mobile/confirm-pin", json_body(**feedback), JSON)
        assert confirmed.json()["success"] is True
        wrong = await ask(
            pair.proxy, "POST", "/api/mobile/confirm-pin", json_body(**feedback | {"recordNumber": 99}), JSON
        )
        assert wrong.status == 404
        assert (await ask(pair.proxy, "GET", "/api/mobile/provisional-pins?limit=5")).json()["total"] == 0
        described = (await ask(pair.proxy, "GET", "/openapi.json")).json()
        assert "/api/proxy/mobile-upload" in described["paths"], "the proxy describes itself"
        for path in ("/", "/static/pinactors.js"):
            headers = {"Accept": "text/html"}
            through = await ask(pair.proxy, "GET", path, headers=headers)
            direct = await ask(pair.master, "GET", path, headers=headers)
            assert (through.status, through.body) == (200, direct.body)
            assert through.headers["content-length"] == str(len(direct.body))
            assert through.headers["content-type"] == direct.headers["content-type"]
            assert through.headers.get("content-security-policy") == direct.headers.get(
                "content-security-policy"
            )
            head = await ask(pair.proxy, "HEAD", path, headers=headers)
            assert head.headers["content-length"] == str(len(direct.body))
        preflight = await ask(pair.proxy, "OPTIONS", "/api/proxy/mobile-upload")
        assert preflight.headers["access-control-max-age"] == "86400"
        assert (await ask(pair.proxy, "GET", "/api/proxy/health")).json()["status"] == "ok"


async def test_head_of_a_stream_gives_no_length_that_a_get_would_not_have(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        stream = (await upload(pair.proxy, "head")).packets[0]["streamUrl"]
        for port in (pair.master, pair.proxy):
            head = await ask(port, "HEAD", stream)
            assert head.status == 200
            assert "content-length" not in head.headers


async def test_header_fields_need_not_be_ascii(pair: Pair) -> None:
    """Some apps send their name as `User-Agent`; HTTP/1.1 allows all bytes from 0x80 to 0xFF in a field."""
    other = {"User-Agent": "Nadelzähler/1.0", "Accept": "*/*;x=ä", "If-None-Match": '"ä"'}
    parameter = {name: f"{value}; charset=ä" for name, value in MULTIPART.items()}
    form = multipart([part("sessionId", b"form"), part("front_image", b"PHOTO", "f")])
    feedback = json_body(recordNumber=99, pinId="x", userAgreement="agree")
    requests: list[tuple[str, str, bytes, dict[str, str], int]] = [
        ("POST", UPLOAD, form, parameter, 200),
        ("POST", UPLOAD, form, MULTIPART | {"Idempotency-Key": "ä"}, 400),
        ("POST", UPLOAD, form, MULTIPART | {"x-session-id": "ä"}, 400),
        ("GET", "/api/records", b"", {}, 200),
        ("GET", "/", b"", {}, 200),
        ("POST", "/api/mobile/confirm-pin", feedback, JSON, 404),
    ]
    with trio.fail_after(LIMIT):
        for method, path, body, headers, status in requests:
            for port in (pair.master, pair.proxy):
                answer = await ask(port, method, path, body, other | headers)
                assert answer.status == status, (path, headers, answer.body)
                if port == pair.proxy and "x-session-id" in headers:
                    assert answer.json()["field"] == "x-session-id"
        refused = await ask(pair.proxy, "GET", "/api/records", headers={"x-api-key": "ä"})
        assert (refused.status, refused.json()["errorCode"]) == (401, "unauthorized")
