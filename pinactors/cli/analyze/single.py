"""`pinactors analyze`: analyses one pin, in this process or on a server, and prints the answer as text or
JSON."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from pinactors import client
from pinactors.analysis.imaging import formats
from pinactors.cli import interruptible, terminal
from pinactors.cli.analyze import local
from pinactors.cli.analyze.batch import analyze_many
from pinactors.cli.analyze.view import LineView, LiveView, ProgressView
from pinactors.evaluation import boards
from pinactors.protocol import View, merge
from pinactors.settings import Settings


def analyze(
    front: Annotated[
        Path,
        typer.Argument(
            metavar="FRONT",
            help="Photograph of the front; or a folder or CSV file of many pins.",
            show_default=False,
        ),
    ],
    back: Annotated[
        Path | None, typer.Option(help="Photograph of the back; it settles most questions.")
    ] = None,
    angled: Annotated[Path | None, typer.Option(help="Photograph of the tilted front.")] = None,
    server: Annotated[
        str | None,
        typer.Option(help="Ask this server, such as http://127.0.0.1:8080; without it, analyse here."),
    ] = None,
    key: terminal.Key = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with the catalogue, when analysing here. [env: PINACTORS_DATA]"),
    ] = None,
    unreachable_seconds: Annotated[
        float,
        typer.Option(
            min=1,
            callback=terminal.number,
            help="Seconds without a connection to the server after which to give up.",
        ),
    ] = 30,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, as a desktop client gets it.")
    ] = False,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="For many pins: folder for the table, the JSON lines and the page."
        ),
    ] = Path("pinactors-results"),
    board: Annotated[
        bool, typer.Option("--board", help="Only find which pins FRONT shows, and where, without a server.")
    ] = False,
) -> None:
    """Analyse photographs of one pin, or of many.

    For many pins, FRONT is a folder (fox_front.jpg and fox_back.jpg are one pin, so are fox/front.jpg and
    fox/back.jpg) or a CSV file with the columns front, back, angled and name. If the command was stopped, the
    same command continues.

    On a terminal, a table is filled in as results arrive; in a pipe, each result is a line; with --json, one
    object is printed at the end. Exit status: 0 analysed, 1 failed, 2 a file or a setting is wrong.
    """
    if front.is_dir() or front.suffix.lower() == ".csv":
        if back or angled or as_json or board:
            terminal.stop(
                "--back, --angled, --json and --board are for one pin or one photograph", terminal.USAGE
            )
        analyze_many(front, output, server, key, unreachable_seconds, terminal.settings(data=data))
        return
    given = {View.FRONT: front, View.BACK: back, View.ANGLED: angled}
    images = {view: path for view, path in given.items() if path is not None}
    for view, path in images.items():
        _check(view, path, here=server is None)
    settings = terminal.settings(data=data)
    if board:
        if server is not None or len(images) > 1:
            terminal.stop("--board is for one photograph, analysed here", terminal.USAGE)
        local.prepare(settings)
        with terminal.explaining():
            _show_board(boards.find_pins(settings.catalog_folder, front), as_json)
        return
    if server is None:
        local.prepare(settings)
    progress_view = ProgressView()
    if not as_json:
        progress_view = LiveView() if terminal.interactive() else LineView()
    with terminal.asking(server):
        packets = interruptible.run(
            _analyze, images, server, key, unreachable_seconds, settings, progress_view
        )
    if packets is None:
        raise typer.Exit(interruptible.INTERRUPTED)
    answer = merge.merge(packets)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=not terminal.unicode(), indent=2))
    elif not merge.failed(answer) and answer.get("demonstration"):
        terminal.output.print(
            "The catalogue used is a demonstration: its pins and prices are made up.", style="dim"
        )
    if merge.failed(answer):
        raise typer.Exit(1)


def _show_board(seen: list[boards.BoxedPin], as_json: bool) -> None:
    """Prints the pins found in one photograph, most likely first; boxes in pixels of the photograph."""
    if as_json:
        rows = [
            {"pinId": one.pin_id, "name": one.name, "box": [round(side) for side in one.box]}
            | {"score": round(one.score, 3)}
            for one in seen
        ]
        typer.echo(json.dumps(rows, ensure_ascii=not terminal.unicode(), indent=2))
        return
    if not seen:
        terminal.output.print("No pin in the catalogue was found.")
        return
    shown = [
        (one.pin_id, one.name, *(str(round(side)) for side in one.box), f"{one.score:.2f}") for one in seen
    ]
    terminal.table("pin", "name", "left", "top", "right", "bottom", "score", rows=shown)


def _check(view: View, path: Path, *, here: bool) -> None:
    """Ends the program if the file is not a photograph: a server would refuse it only after the upload."""
    if path.is_dir():
        terminal.stop(f"{view} photograph {path}: this is a folder", terminal.USAGE)
    if not path.exists():
        terminal.stop(f"{view} photograph {path}: no such file", terminal.USAGE)
    if not path.is_file():  # a pipe can be read only once, or never ends; a photograph is read several times
        terminal.stop(f"{view} photograph {path}: this is not a regular file", terminal.USAGE)
    if not here:
        return
    with terminal.explaining(), path.open("rb") as file:
        start = file.read(formats.START_BYTES)
    if not start:
        terminal.stop(f"{view} photograph {path}: the file is empty")
    if formats.sniff(start) is None:
        what = formats.name_of(start) or "not a photograph we can read"
        terminal.stop(
            f"{view} photograph {path}: this is {what}; only {formats.ACCEPTED_FORMATS} can be read"
        )


async def _analyze(
    images: dict[View, Path],
    server: str | None,
    key: str | None,
    unreachable_seconds: float,
    settings: Settings,
    progress_view: ProgressView,
) -> list[bytes]:
    raw = []
    async with AsyncExitStack() as stack:
        stack.enter_context(progress_view)
        packets: Any
        if server is None:
            packets = await stack.enter_async_context(local.analyze(images, settings))
        else:
            packets = await stack.enter_async_context(
                client.analyze(
                    server,
                    images,
                    key=key,
                    on_progress=progress_view.uploaded,
                    unreachable_seconds=unreachable_seconds,
                )
            )
        async for received in packets:
            raw.append(received.raw)
            progress_view.packet(received)
    return raw
