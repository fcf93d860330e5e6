"""`GET /api/records`: a caller's own analyses, paged and filtered, and a single analysis in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pinactors.api.answers import RecordPage
from pinactors.records import Records
from tests.api.conftest import running
from tests.api.wire import ask
from tests.cli.samples import seal
from tests.records.samples import record

RECORDS = "/api/records"


async def get(port: int, path: str, key: str = "") -> Any:
    return await ask(port, "GET", path, headers={"x-api-key": key} if key else {})


async def test_pages_filters_and_owners(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        records = await Records.open(server.settings)
        keys = [await records.add_key(name) for name in ("shop", "home")]
        for number, verdict in enumerate(["authentic", "counterfeit", "authentic", "undetermined"]):
            one = record(f"s{number}", owner="2" if number == 3 else "1", verdict=verdict, packets=[])
            await records.save(one, seal)

        await records.close()

        assert (await get(server.port, RECORDS)).status == 401
        answer = await get(server.port, RECORDS, keys[0])
        page = msgspec.convert(answer.json(), RecordPage, strict=False)
        assert (answer.status, page.total, page.next) == (200, 3, None)
        assert [row.record_number for row in page.records] == [3, 2, 1]
        first = answer.json()["records"][0]
        assert first["verdict"] == "authentic"
        assert (first["pinId"], first["name"], first["views"]) == (
            "P1",
            "Fox in the Garden",
            ["back", "front"],
        )
        assert (first["authenticityRating"], first["userAgreement"], first["missing"]) == (
            81,
            None,
            ["pricing"],
        )

        page = (await get(server.port, f"{RECORDS}?limit=2", keys[0])).json()
        assert ([row["recordNumber"] for row in page["records"]], page["next"]) == ([3, 2], 2)
        page = (await get(server.port, f"{RECORDS}?limit=0", keys[0])).json()
        assert ([row["recordNumber"] for row in page["records"]], page["next"]) == ([], None)
        page = (await get(server.port, f"{RECORDS}?limit=2&before=2", keys[0])).json()
        assert ([row["recordNumber"] for row in page["records"]], page["next"]) == ([1], None)

        for query, found in (
            ("verdict=counterfeit", [2]),
            ("pin=P1", [3, 2, 1]),
            ("pin=P9", []),
            ("since=2999-01-01", []),
            ("until=2999-01-01", [3, 2, 1]),
            ("since=2999-01-01T00:00:00%2B01:00", []),
            ("since=2999-01-01T00:00:00+01:00", []),
            ("since=2999-01-01T00:00:00.123456+0100", []),
            ("until=2999-01-01T00:00+01:00", [3, 2, 1]),
            ("until=2999-01-01+10:00", [3, 2, 1]),
        ):
            page = (await get(server.port, f"{RECORDS}?{query}", keys[0])).json()
            assert [row["recordNumber"] for row in page["records"]] == found, query

        assert (await get(server.port, f"{RECORDS}/2", keys[0])).json()["id"] == 2
        for path in (f"{RECORDS}/4", f"{RECORDS}/x", f"{RECORDS}/99999999999"):
            answer = await get(server.port, path, keys[0])
            assert (answer.status, answer.json()["errorCode"]) == (404, "record_not_found"), path
        assert (await get(server.port, f"{RECORDS}/4", keys[1])).json()["id"] == 4


@pytest.mark.parametrize(
    ("query", "field"),
    [("verdict=maybe", "verdict"), ("since=soon", "since"), ("limit=-1", "limit"), ("pin=P%001", "pin")],
)
async def test_a_filter_that_means_nothing_is_named(query: str, field: str, tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        answer = await get(server.port, f"{RECORDS}?{query}")
        unfiltered = await get(server.port, f"{RECORDS}?{field}=undefined")
    assert (answer.status, answer.json()["field"]) == (400, field)
    assert unfiltered.status == 200
