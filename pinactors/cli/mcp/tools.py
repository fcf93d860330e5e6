"""The tools of the Model Context Protocol, over standard input and output.

The model's program starts this one as a child process. This process runs with its user's rights, and opens
what the model names: files, and URLs of this machine or of public servers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from pinactors import __version__, client, components
from pinactors.catalog.reader import Catalog
from pinactors.cli.analyze import local
from pinactors.cli.mcp.photographs import read
from pinactors.client import NotPinactors
from pinactors.protocol import PinactorsError, View, merge
from pinactors.settings import Settings

MAX_FOUND = 20
"""Most pins in the answer to a search."""

SEARCH_CHARACTERS = 100

Analyze = Callable[[dict[View, bytes]], AbstractAsyncContextManager[Any]]
"""Starts an analysis; its context manager gives an asynchronous iterator of the packets."""

INSTRUCTIONS = """Trading pins: whether one is genuine, which one it is, what it sells for.
A photograph of the back settles most questions of authenticity. `undetermined` means that the photographs do
not decide it. Answers with "demonstration": true use a made-up catalogue."""


def build(settings: Settings, server: str | None = None, key: str | None = None) -> MCPServer[Any]:
    """Makes the server with its tools. `server` is the URL of the server that analyses; without it, this
    process does."""
    analyze: Analyze | None = None
    declared = components.declare(settings, catalog=settings.catalog_folder)
    packets_in_all = len(declared.components) + 3

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        nonlocal analyze
        async with AsyncExitStack() as stack:
            if server is not None:
                analyze = partial(client.analyze, server, key=key)
            else:
                running = await stack.enter_async_context(local.pipeline(settings, declared))
                analyze = partial(_analyzed_here, running)
            yield

    tools: MCPServer[Any] = MCPServer(
        "pinactors", instructions=INSTRUCTIONS, version=__version__, lifespan=lifespan, log_level="ERROR"
    )

    @tools.tool()
    async def analyze_pin(
        front: str, ctx: Context[Any, Any], back: str | None = None, angled: str | None = None
    ) -> dict[str, Any]:
        """Analyse photographs of one trading pin: is it genuine, which pin is it, what does it sell for?

        Each photograph is a path or a URL (file:, http: or https:). `front` is required; `back` settles most
        questions of authenticity; `angled` is the tilted front.
        """
        assert analyze is not None
        given = {View.FRONT: front, View.BACK: back, View.ANGLED: angled}
        try:
            images = {
                view: await read(source, settings.max_request_bytes)
                for view, source in given.items()
                if source is not None
            }
            received: list[bytes] = []
            async with analyze(images) as packets:
                async for packet in packets:
                    received.append(packet.raw)
                    kind = packet.fields["packetType"].lower().replace("_", " ")
                    await ctx.report_progress(len(received), packets_in_all, kind)
        except (PinactorsError, client.NetworkError, NotPinactors, OSError, ValueError) as error:
            raise ToolError(str(error)) from error
        answer = merge.merge(received)
        if merge.failed(answer):
            raise ToolError(f"{answer['message']}: {answer['error']}")
        return answer

    @tools.tool()
    async def find_pin(text: str) -> dict[str, Any]:
        """Find pins of the catalogue whose id, name, characters, series or code contain `text`."""
        text = text.strip()
        if not 0 < len(text) <= SEARCH_CHARACTERS:
            raise ToolError(f"text must have 1 to {SEARCH_CHARACTERS} characters")
        try:
            return {"pins": await trio.to_thread.run_sync(_find, settings.catalog_folder, text)}
        except (OSError, ValueError) as error:
            raise ToolError(f"the catalogue cannot be read: {error}") from error

    return tools


@asynccontextmanager
async def _analyzed_here(
    running: local.Pipeline, images: dict[View, bytes]
) -> AsyncIterator[local.LoggedPackets]:
    yield local.LoggedPackets(await running.open(images))


def _find(folder: Path, text: str) -> list[dict[str, Any]]:
    return [
        {
            "pinId": pin.pin_id,
            "name": pin.name,
            "characters": list(pin.characters),
            "series": pin.series,
            "year": pin.year,
        }
        for pin in Catalog.open(folder).pins(text, MAX_FOUND)
    ]
