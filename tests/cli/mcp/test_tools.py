"""Tests of `pinactors mcp` with the client of the package `mcp`, over standard input and output."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from mcp import Client, StdioServerParameters

from pinactors.catalog.demo import DESIGNS, draw_demo, photograph
from pinactors.catalog.importing.importer import import_catalog
from pinactors.protocol import View
from tests.api.conftest import running

LIMIT = 120
ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def model(*arguments: object) -> AsyncIterator[Client]:
    """A client of `pinactors mcp` started with these arguments."""
    command = ["-m", "pinactors", "mcp", *map(str, arguments)]
    server = StdioServerParameters(
        command=sys.executable, args=command, cwd=ROOT, env={"PINACTORS_WORKERS": "1"}
    )
    with trio.fail_after(LIMIT):
        async with Client(server) as client:
            yield client


async def call(client: Client, tool: str, **arguments: object) -> tuple[Any, list[str]]:
    """The tool's result and its progress messages."""
    progress: list[str] = []

    async def told(done: float, total: float | None, message: str | None) -> None:
        assert total is not None
        assert done == len(progress) + 1 <= total
        progress.append(str(message))
        await trio.lowlevel.checkpoint()

    return await client.call_tool(tool, arguments, progress_callback=told), progress


async def test_a_model_analyses_and_finds_pins_on_this_machine(tmp_path: Path) -> None:
    drawn, data = tmp_path / "drawn", tmp_path / "data"
    draw_demo(drawn, dt.date(2025, 6, 30), designs=DESIGNS[:2])
    import_catalog(drawn, data / "catalog")
    front, back = tmp_path / "the front.jpg", tmp_path / "back.jpg"
    front.write_bytes(photograph(DESIGNS[0], View.FRONT, seed=2))
    back.write_bytes(photograph(DESIGNS[0], View.BACK, seed=2))
    async with model("--data", data) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["analyze_pin", "find_pin"]
        found, _ = await call(client, "find_pin", text=DESIGNS[0].name)
        assert [pin["name"] for pin in found.structured_content["pins"]] == [DESIGNS[0].name]
        result, progress = await call(client, "analyze_pin", front=front.as_uri(), back=str(back))
        assert not result.is_error, result
        answer = result.structured_content
        assert (answer["success"], answer["demonstration"]) == (True, True)
        assert answer["candidates"][0]["name"] == DESIGNS[0].name
        assert len(progress) == 8
        assert (progress[0], progress[-1]) == ("connection established", "analysis complete")


async def test_a_server_analyses_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    front = tmp_path / "front.jpg"
    front.write_bytes(b"PHOTO")
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    async with running(tmp_path / "data", max_request_bytes=100_000) as server:
        here = f"http://127.0.0.1:{server.port}"
        async with model("--server", here, "--data", tmp_path / "data") as client:
            result, progress = await call(client, "analyze_pin", front=str(front))
            assert result.structured_content["verdict"]
            assert len(progress) == 8
            for source, reason in (
                (str(tmp_path / "none.jpg"), "No such file"),
                (str(tmp_path / "no.jpg"), "front"),
                (f"{here}/none", "answers 404"),
                ("https://10.0.0.1/pin.jpg", "no public address"),
            ):
                result, _ = await call(client, "analyze_pin", front=source)
                assert result.is_error, source
                assert reason in result.content[0].text, (source, result)
            fetched, _ = await call(client, "analyze_pin", front=f"{here}/health")
            assert fetched.is_error  # the file was fetched, but is not a photograph
            result, _ = await call(client, "find_pin", text=" ")
            assert result.is_error
