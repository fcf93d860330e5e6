"""`pinactors components`: lists the components of an analysis, and tries a plug-in on a photograph."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import msgspec
import trio
import typer

from pinactors import components, plugins
from pinactors.cli import interruptible, terminal
from pinactors.cli.analyze.local import pipeline
from pinactors.cli.catalog import Data
from pinactors.pipeline.declaration import Analysis, Component
from pinactors.protocol import View, packet_type_of
from pinactors.settings import Settings

app = typer.Typer(no_args_is_help=True, help="List the components of an analysis, try a plug-in.")


@app.command("list")
def list_(data: Data = None) -> None:
    """List the declared components and shared steps: what each makes, needs, where it runs, and who declared
    it."""
    with terminal.explaining():
        analysis = components.declare(terminal.settings(data=data))
    rows = [
        (step.name, "a shared value", step.place, ", ".join(step.needs), step.declared_by)
        for step in analysis.shared_steps
    ]
    for component in analysis.components:
        tag = packet_type_of(component.packet)
        makes = f"{tag} (required)" if component.required else tag
        needs = ", ".join(component.needs)
        rows.append((component.name, makes, component.place, needs, component.declared_by))
    terminal.table("name", "makes", "runs in", "needs", "declared by", rows=rows)


@app.command("check")
def check(
    source: Annotated[
        str, typer.Argument(metavar="MODULE:FUNCTION", help="The plug-in.", show_default=False)
    ],
    front: Annotated[
        Path, typer.Argument(metavar="PHOTO", help="Photograph of the front.", show_default=False)
    ],
    back: Annotated[Path | None, typer.Option(help="Photograph of the back.")] = None,
    data: Data = None,
) -> None:
    """Run one plug-in's components on a photograph, in this process with real workers; print their packets.

    Exit status: 0 if each made its packet by full analysis, 1 if one did not, 2 if the plug-in cannot be
    loaded.
    """
    settings = terminal.settings(data=data)
    with terminal.explaining():
        before = components.declare(settings)
        analysis = plugins.with_plugin(source, settings, before)
        own_components = [each for each in analysis.components if each.declared_by == source]
        if not own_components:
            terminal.stop(f"plug-in {source} declares no component of its own", terminal.USAGE)
        photographs = {View.FRONT: front} | ({View.BACK: back} if back is not None else {})
        answer = interruptible.run(_run, settings, _with_components(analysis, own_components), photographs)
    if answer is None:
        raise typer.Exit(interruptible.INTERRUPTED)
    if not _print_packets(answer, own_components):
        raise typer.Exit(1)


def _with_components(analysis: Analysis, own_components: list[Component]) -> Analysis:
    """The analysis with only the plug-in's components, none required, so that a failed one does not end the
    others."""
    return dataclasses.replace(
        analysis, components=tuple(dataclasses.replace(each, required=False) for each in own_components)
    )


async def _run(settings: Settings, analysis: Analysis, photographs: dict[View, Path]) -> list[bytes]:
    async with pipeline(settings, analysis) as running:
        log = await running.open(photographs)
        with log.watching():
            await log.wait_closed()
        await trio.lowlevel.checkpoint()
        return list(log.packets)


def _print_packets(packets: list[bytes], own_components: list[Component]) -> bool:
    """Whether every component made its packet by full analysis."""
    read: dict[str, dict[str, Any]] = {}
    for packet in packets:
        values = msgspec.json.decode(packet, type=dict[str, Any])
        read[values["packetType"]] = values
    end = read.get("ANALYSIS_COMPLETE", {})
    if not end:
        terminal.stop(str(read.get("ERROR", {}).get("error", "the session did not end")))
    good = True
    for component in own_components:
        tag = packet_type_of(component.packet)
        state = "full analysis"
        if component.name in end["missing"]:
            state = "no packet"
        elif component.name in end["degraded"]:
            state = "basic analysis"
        good = good and state == "full analysis"
        terminal.output.print(f"{component.name}: {state}")
        if tag in read:
            text = terminal.clean(msgspec.json.format(msgspec.json.encode(read[tag])).decode())
            terminal.output.print(text)
    return good
