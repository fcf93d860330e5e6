"""Logs: one structured line for each request and each session, without keys, photographs or lines of other
libraries."""

from __future__ import annotations

import base64
import json
import logging
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from structlog.testing import capture_logs

from pinactors.api.server import hypercorn_config
from pinactors.logs import ServerLog, configure
from pinactors.records import Records
from pinactors.settings import Settings
from tests.api.conftest import launch
from tests.api.wire import JSON, ask, json_body

PHOTOGRAPH = b"PHOTO that must stay private"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def test_what_a_server_writes(tmp_path: Path, process: list[subprocess.Popen[str]]) -> None:
    data = tmp_path / "data"
    records = await Records.open(Settings(data=data))
    key = await records.add_key("a name")
    await records.close()
    server, port = launch(data)
    process.append(server)
    body = json_body(sessionId="log-1", frontImageData=PHOTOGRAPH)
    answer = await ask(port, "POST", "/mobile-upload", body, JSON | {"x-api-key": key})
    stream_id = answer.json()["streamId"]
    await ask(port, "GET", f"/streams/{stream_id}?offset=-1&key={key}", headers={"x-api-key": key})
    await ask(port, "GET", "/a%0d%0aforged=line", headers={"x-api-key": "wrong-" + key})
    server.send_signal(signal.SIGTERM)
    with trio.fail_after(120):
        await trio.to_thread.run_sync(server.wait)
    text = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in requests] == [
        ("POST", "/mobile-upload", 200),
        ("GET", f"/streams/{stream_id[:6]}…", 200),
        ("GET", "/a%0d%0aforged=line", 404),
    ]
    assert all(line["timestamp"] and line["level"] == "info" for line in requests)
    ended = next(line for line in lines if line["event"] == "session ended")
    assert ended["session"] == "log-1"
    assert key not in text
    assert stream_id not in text
    assert base64.b64encode(PHOTOGRAPH).decode()[:20] not in text
    assert PHOTOGRAPH.decode() not in text


async def test_every_event_of_hypercorn_is_logged() -> None:
    config = hypercorn_config(Settings())
    assert isinstance(config.log, ServerLog)
    scope: dict[str, Any] = {"raw_path": b"/ws?x", "client": None}
    with capture_logs() as entries:
        await config.log.access(scope, None, 0.5)
        await config.log.access({"raw_path": b"/" + b"x" * 999, "client": ("::1", 1)}, {"status": 200}, 0)
    assert entries[0]["method"] == "WEBSOCKET"
    assert (entries[0]["status"], entries[0]["milliseconds"], entries[0]["client"]) == (None, 500.0, None)
    assert (len(entries[1]["path"]), entries[1]["client"]) == (200, "::1")


def test_a_logged_exception_shows_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    """In the format for people, whose library shows local variables unless told not to."""

    def fail(token: str) -> None:
        raise ValueError(f"a token of {len(token)} characters")

    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        configure(Settings(log_format="console"))
        try:
            fail("-".join(("SECRET", "KEY")))
        except ValueError:
            structlog.get_logger("pinactors.test").exception("request failed")
    finally:
        structlog.configure(**before)
        root.handlers = handlers
        root.setLevel(level)
    told = capsys.readouterr().err
    assert "a token of 10 characters" in told
    assert "in fail" in told
    assert "SECRET-KEY" not in told
