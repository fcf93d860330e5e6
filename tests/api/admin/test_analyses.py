"""Everybody's analyses, and how the server does, for operators."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

import trio

from tests.api.admin.conftest import Operator
from tests.api.wire import ask
from tests.cli.samples import seal
from tests.records.samples import record


async def test_everybodys_analyses_by_filters(operator: Operator) -> None:
    records = operator.records
    for number in range(1, 4):
        degraded = ["details"] if number == 2 else []
        one = record(f"s{number}", owner=str(number), degraded=degraded, session_id=f"p{number}", packets=[])
        await records.save(one, seal)
    await records.confirm(1, "p1", "disagree", "It is another fox.", "1", "counterfeit", "P9", 12.0)
    await records.confirm(3, "p3", "disagree", "", "3")
    await records.confirm(3, "p3", "agree", "", "3")

    async def numbers(query: str) -> list[int]:
        return [row["recordNumber"] for row in (await operator.get(f"/records?{query}"))["records"]]

    assert await numbers("") == [3, 2, 1]
    assert await numbers("agreement=disagree") == [1]
    assert await numbers("agreement=agree") == [3]
    assert await numbers("degraded=details") == [2]
    assert await numbers("key=phone&verdict=authentic") == [2]
    assert await numbers("limit=1&before=3") == [2]
    first = (await operator.get("/records?agreement=disagree"))["records"][0]
    assert (first["key"], first["streamId"], first["comment"]) == ("shop", "s1", "It is another fox.")
    assert [first[f"corrected{name}"] for name in ("Verdict", "PinId", "Price")] == [
        "counterfeit",
        "P9",
        12.0,
    ]
    assert (await operator.get("/records/2"))["id"] == 2
    for path, status in (
        ("/records?agreement=maybe", 400),
        ("/records?degraded=%25", 400),
        ("/records/9", 404),
        ("/records/1/front", 404),  # the file does not exist
    ):
        assert (await operator.ask("GET", path)).status == status, path


async def test_how_it_goes(operator: Operator) -> None:
    one = record("s1", degraded=["details"], missing=["pricing"], error_code=None)
    now = record("s2", error_code="overloaded", verdict=None)
    started = dt.datetime.now(dt.UTC)
    for each in (one, now):
        await operator.records.save(dataclasses.replace(each, started_at=started), seal)
    await operator.records.save(record("old"), seal)
    told = await operator.get("/overview")
    assert (len(told["uploads"]), sum(told["uploads"])) == (60, 2)
    assert (told["failed"], told["degraded"], told["missing"]) == (1, {"details": 1}, {"pricing": 2})
    assert (told["disagreements"], told["editable"], told["catalogue"]["pins"]) == (0, True, 1)


async def test_an_outdated_catalogue_is_told_to_operators(operator: Operator) -> None:
    current = operator.server.settings.catalog_folder / "CURRENT"
    state = json.loads(await trio.Path(current).read_text()) | {"features": 1}
    await trio.Path(current).write_text(json.dumps(state))
    assert (await operator.get("/overview"))["catalogue"]["outdated"] is True
    health = (await ask(operator.server.port, "GET", "/health")).json()
    assert (health["status"], health["catalogue"]["outdated"]) == ("degraded", True)
