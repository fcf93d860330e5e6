"""API keys: which requests they allow, and what is visible to other keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from werkzeug.datastructures import Headers

from pinactors.api.auth import REMEMBERED_SECONDS, RememberingRecords, authenticate, key_of
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.records import Records, RecordsUnavailable
from pinactors.settings import Settings
from tests.api.conftest import Running, running
from tests.api.wire import JSON, Answer, ask, json_body

UPLOAD = "/mobile-upload"


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[tuple[Running, list[str]]]:
    records = await Records.open(Settings(data=tmp_path))
    keys = [await records.add_key("one"), await records.add_key("two")]
    await records.close()
    async with running(tmp_path) as server:
        yield server, keys


async def upload(port: int, headers: dict[str, str], session: str = "s") -> Answer:
    return await ask(
        port, "POST", UPLOAD, json_body(sessionId=session, frontImageData=b"PHOTO"), JSON | headers
    )


async def test_a_key_is_taken_from_either_header_in_any_case(keyed: tuple[Running, list[str]]) -> None:
    server, [key, _] = keyed
    for headers in (
        {"x-api-key": key},
        {"X-API-KEY": key},
        {"Authorization": f"Bearer {key}"},
        {"aUTHORIZATION": f"bearer  {key} "},
        {"x-api-key": "", "Authorization": f"Bearer {key}"},
        {"x-api-key": "  ", "Authorization": f"Bearer {key}"},
    ):
        assert (await upload(server.port, headers)).status == 200, headers


async def test_none_a_wrong_one_and_a_huge_one_are_refused_alike(keyed: tuple[Running, list[str]]) -> None:
    server, [key, _] = keyed
    for headers in (
        {},
        {"x-api-key": ""},
        {"x-api-key": key[:-1]},
        {"x-api-key": key + "x"},
        {"x-api-key": "é" * 20},
        {"x-api-key": "x" * 9000},
        {"Authorization": f"Basic {key}"},
        {"Authorization": "Bearer"},
    ):
        answer = await upload(server.port, headers)
        assert (answer.status, answer.json()["errorCode"]) == (401, "unauthorized"), headers
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert key not in answer.body.decode()
    for method, path in (
        ("POST", "/api/mobile/confirm-pin"),
        ("GET", "/api/mobile/provisional-pins"),
        ("GET", "/streams/x"),
        ("DELETE", "/streams/x"),
    ):
        assert (await ask(server.port, method, path)).status == 401, path
    for path in ("/health", "/", "/metrics"):
        assert (await ask(server.port, "GET", path)).status == 200, path


async def test_a_key_sees_its_own_only(keyed: tuple[Running, list[str]]) -> None:
    server, [mine, other] = keyed
    made = (await upload(server.port, {"x-api-key": mine}, "s1")).json()
    theirs = (await upload(server.port, {"x-api-key": other}, "s1")).json()
    assert theirs["id"] != made["id"], "two phones with one session id do not meet"
    stream = f"/streams/{made['streamId']}"
    assert (await ask(server.port, "GET", stream, headers={"x-api-key": mine})).status == 200
    assert (await ask(server.port, "GET", stream, headers={"x-api-key": other})).status == 404
    listed = await ask(server.port, "GET", "/api/mobile/provisional-pins", headers={"x-api-key": other})
    assert [pin["recordNumber"] for pin in listed.json()["provisionalPins"]] == [theirs["id"]]
    confirm = json_body(recordNumber=made["id"], pinId="s1", userAgreement="agree")
    for key, status in ((other, 404), (mine, 200)):
        answer = await ask(server.port, "POST", "/api/mobile/confirm-pin", confirm, JSON | {"x-api-key": key})
        assert answer.status == status


async def test_a_rate_is_held_for_each_key(tmp_path: Path) -> None:
    records = await Records.open(Settings(data=tmp_path))
    keys = [await records.add_key("one"), await records.add_key("two")]
    await records.close()
    async with running(tmp_path, rate_per_minute=1) as server:
        assert (await upload(server.port, {"x-api-key": keys[0]})).status == 200
        refused = await upload(server.port, {"x-api-key": keys[0]}, "another")
        assert (refused.status, refused.json()["errorCode"]) == (429, "overloaded")
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert (await upload(server.port, {"x-api-key": keys[1]})).status == 200


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"x-api-key": " k "}, "k"),
        ({"authorization": "Bearer k"}, "k"),
        ({"authorization": "bearer k"}, "k"),
        ({"authorization": "k"}, None),
        ({"x-api-key": "a", "authorization": "Bearer b"}, "a"),
        ({"x-api-key": "", "authorization": "Bearer b"}, "b"),
        ({"x-api-key": "undefined", "authorization": "Bearer b"}, "b"),
        ({"x-api-key": "null"}, None),
        ({"authorization": "Bearer undefined"}, None),
        ({"authorization": "BEARER\t b "}, "b"),
        ({"authorization": "Bearer"}, None),
    ],
)
def test_where_a_key_is_looked_for(headers: dict[str, str], key: str | None) -> None:
    assert key_of(headers) == key
    assert key_of(Headers(headers)) == key


def test_a_header_that_comes_twice_is_the_line_that_says_something() -> None:
    assert key_of(Headers([("x-api-key", ""), ("X-API-Key", "k")])) == "k"
    assert key_of(Headers([("Authorization", ""), ("authorization", "Bearer k")])) == "k"
    assert key_of(Headers([("Authorization", "Basic eDp5"), ("Authorization", "Bearer k")])) == "k"


def lose_database(data: Path) -> None:
    for file in data.glob("pinactors.db*"):
        file.unlink()


class TestClosedAsBefore:
    async def test_a_database_that_was_lost_does_not_open_the_server(self, tmp_path: Path) -> None:
        records = await Records.open(Settings(data=tmp_path))
        key = await records.add_key("one")
        await records.close()
        async with running(tmp_path) as server:
            assert (await upload(server.port, {"x-api-key": key})).status == 200
        lose_database(tmp_path)
        async with running(tmp_path) as server:
            for headers in ({}, {"x-api-key": key}):
                answer = await upload(server.port, headers)
                assert (answer.status, answer.json()["errorCode"]) == (401, "unauthorized")
            records = await Records.open(server.settings)
            new = await records.add_key("two")
            await records.close()
            assert (await upload(server.port, {"x-api-key": new})).status == 200

    async def test_a_key_that_came_while_it_ran_counts_too(self, tmp_path: Path) -> None:
        async with running(tmp_path) as server:
            assert (await upload(server.port, {})).status == 200
            records = await Records.open(server.settings)
            await records.add_key("one")
            await records.close()
            assert (await upload(server.port, {})).status == 401
            assert server.settings.had_keys_file.exists()
        lose_database(tmp_path)
        async with running(tmp_path) as server:
            assert (await upload(server.port, {})).status == 401

    async def test_whoever_wants_it_open_again_deletes_the_file(self, tmp_path: Path) -> None:
        settings = Settings(data=tmp_path)
        settings.had_keys_file.touch()
        async with running(tmp_path) as server:
            assert (await upload(server.port, {})).status == 401
        settings.had_keys_file.unlink()
        async with running(tmp_path) as server:
            assert (await upload(server.port, {})).status == 200

    async def test_keys_may_be_required_from_the_start(self, tmp_path: Path) -> None:
        async with running(tmp_path, require_keys=True) as server:
            assert (await upload(server.port, {})).status == 401
            assert (await upload(server.port, {"x-api-key": "any"})).status == 401
            assert (await ask(server.port, "GET", "/health")).status == 200
            records = await Records.open(server.settings)
            key = await records.add_key("one")
            await records.close()
            assert (await upload(server.port, {"x-api-key": key})).status == 200


class TestWhileTheDatabaseIsAway:
    @pytest.fixture
    async def records(self, tmp_path: Path) -> AsyncIterator[RememberingRecords]:
        records = await RememberingRecords.open(Settings(data=tmp_path))
        yield records
        await records.close()

    @staticmethod
    def take_away(monkeypatch: pytest.MonkeyPatch) -> None:
        async def away(*_: object) -> None:
            raise RecordsUnavailable(ErrorCode.OVERLOADED, "Records unavailable", status=503)

        monkeypatch.setattr(Records, "has_keys", away)
        monkeypatch.setattr(Records, "authenticate", away)

    async def test_a_known_key_is_still_known_and_an_unknown_one_waits(
        self, records: RememberingRecords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known, unknown = await records.add_key("a"), await records.add_key("b")
        owner = await authenticate({"x-api-key": known}, records)
        self.take_away(monkeypatch)
        assert await authenticate({"x-api-key": known}, records) == owner
        with pytest.raises(RecordsUnavailable):
            await authenticate({"x-api-key": unknown}, records)

    async def test_not_for_ever(self, records: RememberingRecords, monkeypatch: pytest.MonkeyPatch) -> None:
        known = await records.add_key("a")
        await authenticate({"x-api-key": known}, records)
        self.take_away(monkeypatch)
        later = trio.current_time() + REMEMBERED_SECONDS + 1
        monkeypatch.setattr(trio, "current_time", lambda: later)
        with pytest.raises(RecordsUnavailable):
            await authenticate({"x-api-key": known}, records)

    async def test_nobody_is_let_in_on_a_guess(
        self, records: RememberingRecords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the database, the server cannot determine whether it requires keys."""
        self.take_away(monkeypatch)
        with pytest.raises(RecordsUnavailable):
            await authenticate({}, records)

    async def test_a_revoked_key_is_forgotten(
        self, records: RememberingRecords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = await records.add_key("a")
        await authenticate({"x-api-key": token}, records)
        await records.revoke_key(1)
        with pytest.raises(PinactorsError) as refused:
            await authenticate({"x-api-key": token}, records)
        assert refused.value.code is ErrorCode.UNAUTHORIZED
        self.take_away(monkeypatch)
        with pytest.raises(RecordsUnavailable):
            await authenticate({"x-api-key": token}, records)
