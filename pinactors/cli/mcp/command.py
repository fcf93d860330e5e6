"""The command `pinactors mcp`. If the package `mcp` is not installed, it ends with a message that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import trio
import typer

from pinactors.cli import terminal
from pinactors.cli.analyze import local


def mcp(
    server: Annotated[
        str | None, typer.Option(help="Have this server analyse; without it, analyse here.")
    ] = None,
    key: terminal.Key = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the catalogue. [env: PINACTORS_DATA]")
    ] = None,
) -> None:
    """Offer `analyze_pin` and `find_pin` to a language model over standard input and output."""
    settings = terminal.settings(data=data)
    if server is None:
        local.prepare(settings)
    try:
        from pinactors.cli.mcp.tools import build
    except ModuleNotFoundError:
        terminal.stop("the package mcp is not installed; pip install 'pinactors[mcp]' brings it")
    with terminal.explaining():
        trio.run(build(settings, server, key).run_stdio_async)
