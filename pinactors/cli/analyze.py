"""`pinactors analyze`: one pin, in this process or by a server, for a person or for a script."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from pinactors import client
from pinactors.cli import local, terminal
from pinactors.cli.view import Lines, LiveView
from pinactors.cli.view import View as Shown
from pinactors.protocol import View, merge
from pinactors.settings import Settings


class Quiet:
    """Shows nothing: the answer alone is wanted."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def uploaded(self, sent: int, total: int) -> None:
        pass

    def packet(self, received: client.Received) -> None:
        pass


def analyze(
    front: Annotated[
        Path, typer.Argument(metavar="FRONT", help="Photograph of the front.", show_default=False)
    ],
    back: Annotated[Path | None, typer.Option(help="Photograph of the back: settles most questions.")] = None,
    angled: Annotated[Path | None, typer.Option(help="Photograph of the tilted front.")] = None,
    server: Annotated[
        str | None,
        typer.Option(help="Ask this server, such as http://127.0.0.1:8080; without it, analyse here."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="PINACTORS_KEY", help="API key for the server.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with the catalogue, when analysing here. [env: PINACTORS_DATA]"),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds out of the server's reach after which to give up.")
    ] = 30,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, as a desktop gets it.")
    ] = False,
) -> None:
    """Analyse photographs of one pin.

    On a terminal the picture fills in as results arrive; piped, it is a line a result; with --json one object
    at the end. Exit status: 0 analysed, 1 failed, 2 a file or a setting is wrong.
    """
    given = {View.FRONT: front, View.BACK: back, View.ANGLED: angled}
    images = {view: path for view, path in given.items() if path is not None}
    for view, path in images.items():
        if not path.is_file():
            terminal.stop(f"{view} photograph {path}: no such file", terminal.USAGE)
    settings = terminal.settings(data=data)
    if as_json:
        shown: Shown = Quiet()
    else:
        shown = LiveView(str(front)) if terminal.interactive() else Lines()
    with terminal.explaining(f"{server}: " if server else ""):
        packets = terminal.run(_analyze, images, server, key, patience, settings, shown)
    if packets is None:
        raise typer.Exit(terminal.INTERRUPTED)
    answer = merge.merge(packets)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    elif not merge.failed(answer) and answer.get("demonstration"):
        terminal.output.print(
            "The catalogue used is a demonstration: its pins and prices are made up.", style="dim"
        )
    if merge.failed(answer):
        raise typer.Exit(1)


async def _analyze(
    images: dict[View, Path],
    server: str | None,
    key: str | None,
    patience: float,
    settings: Settings,
    shown: Shown,
) -> list[bytes]:
    raw = []
    async with AsyncExitStack() as stack:
        stack.enter_context(shown)
        packets: Any
        if server is None:
            packets = await stack.enter_async_context(local.analyze(images, settings))
        else:
            packets = await stack.enter_async_context(
                client.analyze(server, images, key=key, on_progress=shown.uploaded, patience=patience)
            )
        async for received in packets:
            raw.append(received.raw)
            shown.packet(received)
    return raw
