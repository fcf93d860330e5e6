"""The catalogue that operators look at."""

from __future__ import annotations

from tests.api.admin.conftest import Operator


class TestTheCatalogue:
    async def test_it_is_searched(self, operator: Operator) -> None:
        (pin,) = (await operator.get("/pins?search=otter"))["pins"]
        assert (pin["pinId"], pin["characters"], pin["year"]) == ("T000", ["Otter 0", "Friend"], 2015)
        assert (pin["views"], pin["sales"]) == (["front"], 1)
        assert await operator.get("/pin?id=T000") == pin
        assert (await operator.get("/pins?search=walrus"))["pins"] == []
        assert (await operator.ask("GET", "/pin?id=T999")).status == 404
        refused = await operator.ask("GET", "/pins?search=%00")  # SQLite would find every pin
        assert (refused.status, refused.json()["field"]) == (400, "search")
