"""Tests of the sample configurations for nginx, Caddy and HAProxy: the real programs before a real server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.drawn import LONG_PHOTO, Gate
from tests.api.rawsocket import opened, types
from tests.api.wire import LIMIT, MULTIPART, PHONE, ask, connected, head, multipart, part

SAMPLES = Path(__file__).parents[2] / "docs" / "deploy" / "proxies"
FILES = {"nginx": "nginx.conf", "caddy": "Caddyfile", "haproxy": "haproxy.cfg"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def command(name: str, sample: str, folder: Path) -> list[str]:
    """Writes the configuration and returns the command that starts the program in the foreground."""
    path = folder / FILES[name]
    if name == "nginx":
        temporary = "\n".join(
            f"{kind}_temp_path {folder / kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        sample = (
            f"{user} daemon off; pid {folder / 'pid'}; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary}\n{sample}\n}}"
        )
    path.write_text(sample)
    arguments = {
        "nginx": ["-p", str(folder), "-c", str(path)],
        "caddy": ["run", "--config", str(path), "--adapter", "caddyfile"],
        "haproxy": ["-db", "-f", str(path)],
    }
    return [program(name), *arguments[name]]


@asynccontextmanager
async def in_front(name: str, folder: Path, masters: tuple[int, int]) -> AsyncIterator[int]:
    """Runs the program with its sample, whose ports are replaced, and yields the port it listens on."""
    port = free_port()
    sample = (SAMPLES / FILES[name]).read_text()
    for written, meant in (("8443", port), ("8081", masters[0]), ("8082", masters[1])):
        assert f":{written}" in sample
        sample = sample.replace(f":{written}", f":{meant}")
    arguments = command(name, sample, folder)
    environment = {**os.environ, "HOME": str(folder)}
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, arguments, env=environment, check=False, stderr=subprocess.DEVNULL)
        process = await nursery.start(run)
        try:
            await answering(port)
            yield port
        finally:
            process.terminate()


async def answering(port: int) -> None:
    with trio.fail_after(LIMIT):
        while True:
            try:
                answer = await ask(port, "GET", "/health")
            except OSError:
                answer = None
            if answer is not None and answer.status == 200:
                return
            await trio.sleep(0.05)


@pytest.mark.parametrize("name", FILES)
async def test_streams_websockets_and_large_uploads_pass(name: str, tmp_path: Path, gate: Gate) -> None:
    program(name)
    with trio.fail_after(2 * LIMIT):
        async with (
            running(tmp_path / "data", workers=2) as server,
            in_front(name, tmp_path, (server.port, server.port)) as port,
        ):
            await packets_come_one_by_one(port, gate)
            await websockets_pass(port)
            await large_uploads_pass(port)


async def packets_come_one_by_one(port: int, gate: Gate) -> None:
    """The analysis ends after the first packet has come, which must not be held back until then."""
    body = multipart([part("front_image", gate.photograph(), "front.jpg")])
    async with connected(port) as wire:
        await wire.send(
            head("POST", "/mobile-upload", {**PHONE, **MULTIPART, "Content-Length": str(len(body))}) + body
        )
        await wire.stream_id()
        assert b"AUTHENTICATION_RESULT" not in wire._buffered, "the packets were held back"
        gate.open()
        answer = await wire.answer()
    assert answer.ended
    assert answer.types[-1] == "ANALYSIS_COMPLETE"
    assert "content-encoding" not in answer.headers


async def websockets_pass(port: int) -> None:
    # trio-websocket does not close a stream whose server closed first.
    async with opened(port) as socket:
        await socket.send(sessionId="251231120000", images=["front"])
        await socket.send_photograph(b"PHOTO over a WebSocket")
        received = types(await socket.until("ANALYSIS_COMPLETE"))
        assert await socket.close_code() == 1000
    assert received[0] == "CONNECTION_ESTABLISHED"


async def large_uploads_pass(port: int) -> None:
    """The largest upload that the server accepts, with 200 bytes for the multipart body's own."""
    photograph = LONG_PHOTO + bytes(Settings().max_request_bytes - len(LONG_PHOTO) - 200)
    body = multipart([part("front_image", photograph, "front.jpg")])
    answer = await ask(port, "POST", "/mobile-upload", body, MULTIPART)
    assert answer.status == 200, answer.body
    assert answer.json()["details"]["bytes"]["front"] == len(photograph)
