"""Who may send the operator's requests."""

from __future__ import annotations

from pathlib import Path

from tests.api.admin.conftest import Operator
from tests.api.conftest import running
from tests.api.wire import ask


async def test_who_may_not_is_refused(operator: Operator, tmp_path: Path) -> None:
    routes = (
        ("GET", "/overview"),
        ("GET", "/records"),
        ("GET", "/records/1"),
        ("GET", "/records/1/front"),
        ("GET", "/pins"),
        ("GET", "/pin?id=T000"),
        ("GET", "/imports"),
        ("POST", "/imports"),
        ("GET", "/imports/x"),
        ("PUT", "/imports/x/files/pins.csv"),
        ("POST", "/imports/x/photographs"),
        ("POST", "/imports/x/start"),
        ("DELETE", "/imports/x"),
    )
    for method, path in routes:
        for key, status, code in (("", 401, "unauthorized"), ("x" * 900, 401, "unauthorized")):
            answer = await operator.ask(method, path, key=key)
            assert (answer.status, answer.json()["errorCode"]) == (status, code), path
        answer = await operator.ask(method, path, key=operator.user)
        assert (answer.status, answer.json()["errorCode"]) == (403, "forbidden"), path
    await operator.records.revoke_key(1)
    assert (await operator.ask("GET", "/overview")).status == 401
    page = await ask(operator.server.port, "GET", "/admin")
    assert page.status == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_a_server_that_is_open_to_everybody_has_no_open_admin(tmp_path: Path) -> None:
    async with running(tmp_path / "open") as server:
        answer = await ask(server.port, "GET", "/admin/api/overview")
    assert answer.status == 401
    assert "keys add NAME --admin" in answer.json()["error"]
