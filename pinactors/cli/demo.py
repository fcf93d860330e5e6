"""`pinactors demo`: a complete upload on this machine, shown packet by packet."""

from __future__ import annotations

import datetime as dt
import io
import shlex
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import segno
import trio
import typer
from rich.text import Text

from pinactors import client, logs
from pinactors.api.launch import run_master
from pinactors.catalog.demo import DESIGNS, Design, draw_demo, photograph
from pinactors.catalog.importing.importer import import_catalog
from pinactors.cli import catalog as catalogs
from pinactors.cli import interruptible, terminal
from pinactors.cli.analyze.view import LineView
from pinactors.client.http import Connection
from pinactors.client.uploads import UploadContent
from pinactors.protocol import View
from pinactors.settings import Settings
from pinactors.simulation.link import Relay, relay
from pinactors.simulation.profiles import NAMES, PACKET_BYTES, Direction, Profile, captured, profile
from pinactors.storage.folders import make_writable

DESKTOP_USER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
)
DESKTOP_SILENCE_SECONDS = 120.0
ALL_ADDRESSES = "0.0.0.0"
UNUSED_ADDRESS = ("192.0.2.1", 9)
"""An address that no machine has (RFC 5737): connecting a socket to it shows which of our addresses is
used."""
DESKTOP_FIELDS = (
    "id",
    "verdict",
    "authenticityRating",
    "confidence",
    "characters",
    "estimate",
    "processingTime",
)


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the two uploads are answered.")] = False,
    link: Annotated[str, typer.Option(help=f"Simulated link of the phone: {', '.join(NAMES)}.")] = "lte",
    trace: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="UP DOWN",
            help="Packet-delivery traces of a real link instead, also gzipped.",
            show_default=False,
        ),
    ] = None,
    pin: Annotated[str, typer.Option(help="Which demonstration pin is photographed.")] = "DEMO-01",
    port: Annotated[int, typer.Option(help="Port of the server; 0 picks a free one.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="Data folder to use and keep; without it a temporary one.", show_default=False),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; 0: one per core.")] = None,
    lan: Annotated[
        bool,
        typer.Option("--lan", help="Serve the local network too, and show a QR code for a phone's camera."),
    ] = False,
) -> None:
    """See it work: a real server, a made-up catalogue, a phone on a bad link.

    Draws the demonstration catalogue and three photographs of one of its pins, starts the server, uploads the
    photographs over a simulated cellular link and prints each packet when it arrives; then shows the answer
    that a desktop gets for the same upload. Keeps serving until Ctrl-C.
    """
    designs = {design.pin_id: design for design in DESIGNS}
    if pin not in designs:
        terminal.stop(f"--pin {pin}: expected one of {', '.join(designs)}", terminal.USAGE)
    if trace is None and link not in NAMES:
        terminal.stop(f"--link {link}: expected one of {', '.join(NAMES)}", terminal.USAGE)
    try:
        chosen = captured(*trace) if trace else profile(link)
    except (OSError, ValueError) as error:
        terminal.stop(f"--trace: {error}", terminal.USAGE)
    with _data_folder(data) as folder:
        host = ALL_ADDRESSES if lan else None
        settings = terminal.settings(data=folder, port=port, workers=workers, host=host, log_level="warning")
        logs.configure(settings)
        with terminal.explaining():
            _prepare_catalog(settings)
        photographs = _photographs(designs[pin], folder / "samples")
        demonstration = _Demonstration(settings, chosen, designs[pin], photographs)
        with terminal.explaining():
            interruptible.run(demonstration.run, once)
    if not demonstration.answered:
        raise typer.Exit(interruptible.INTERRUPTED if demonstration.outcome is None else 1)


@contextmanager
def _data_folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        kept = terminal.settings(data=data).data
        with terminal.explaining():
            make_writable(kept, "data folder")
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="pinactors-demo-") as folder:
        yield Path(folder)


def _prepare_catalog(settings: Settings) -> None:
    with tempfile.TemporaryDirectory(prefix="pinactors-drawn-") as drawn:
        with terminal.progress_bar("drawing the demonstration catalogue ") as progress:
            draw_demo(Path(drawn), dt.datetime.now(dt.UTC).date(), progress)
        with terminal.progress_bar("importing it                         ") as progress:
            report = import_catalog(Path(drawn), settings.catalog_folder, progress)
        # After the bar: a line printed inside it would draw the bar a second time.
        catalogs.print_report(report)


def _photographs(design: Design, folder: Path) -> dict[View, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {view: folder / f"{design.pin_id}_{view}.jpg" for view in View}
    for view, path in paths.items():
        path.write_bytes(photograph(design, view, seed=1))
    return paths


@dataclass
class _Demonstration:
    """One run of the demonstration. `answered` is True when phone and desktop have their results; `outcome`
    is the type of the phone's last packet."""

    settings: Settings
    link: Profile
    design: Design
    photographs: dict[View, Path]
    answered: bool = False
    outcome: str | None = None

    async def run(self, once: bool) -> None:
        stop, began = trio.Event(), time.monotonic()
        async with trio.open_nursery() as serving:
            port: int = await serving.start(partial(run_master, self.settings, shutdown=stop))
            on_all_addresses = self.settings.host == ALL_ADDRESSES
            local_host = "127.0.0.1" if on_all_addresses else self.settings.host
            server = f"http://{local_address() if on_all_addresses else local_host}:{port}"
            print_text(f"The server answers at {server} after {time.monotonic() - began:.1f} s.")
            async with trio.open_nursery() as simulation:
                phone: Relay = await simulation.start(relay, self.link, local_host, port)
                await self._phone(f"http://127.0.0.1:{phone.port}")
                simulation.cancel_scope.cancel()
            if self.outcome == "ANALYSIS_COMPLETE":
                await self._desktop(server)
                self.answered = True
                print_text("\nThe catalogue is a demonstration: its pins, makers and prices are made up.")
            if self.answered and not once:
                print_text(_instructions(server, self.photographs))
                if on_all_addresses:
                    _show_code(server)
                await trio.sleep_forever()
            stop.set()

    async def _phone(self, server: str) -> None:
        size = sum(path.stat().st_size for path in self.photographs.values()) / 1024
        print_text(f"\nA phone on {_described(self.link)}")
        print_text(f"sends {len(self.photographs)} photographs of “{self.design.name}”, {size:,.0f} kB:\n")
        with LineView() as lines:
            async with client.analyze(server, self.photographs, on_progress=lines.uploaded) as packets:
                async for received in packets:
                    lines.packet(received)
        self.outcome = packets.received[-1].kind

    async def _desktop(self, server: str) -> None:
        print_text(
            "\nA desktop that sends the same without that link gets one object when everything is done:\n"
        )
        began = time.monotonic()
        body = await UploadContent(self.photographs).multipart()
        async with Connection(server, silence=DESKTOP_SILENCE_SECONDS) as connection:
            answer = await connection.request(
                "POST", "/mobile-upload", {"User-Agent": DESKTOP_USER_AGENT}, body
            )
            fields = msgspec.json.decode(await answer.read(), type=dict[str, Any])
        print_text(
            f"{time.monotonic() - began:8.3f} s  HTTP {answer.status}, {len(fields)} fields, among them"
        )
        for name in DESKTOP_FIELDS:
            print_text(f"{'':12}{name}: {terminal.clean(msgspec.json.encode(fields.get(name)).decode())}")


def print_text(text: str) -> None:
    terminal.output.print(Text(text))


def _described(link: Profile) -> str:
    def rate(direction: Direction) -> str:
        trace = direction.opportunities
        if not trace:
            return "any rate"
        return f"{len(trace) * PACKET_BYTES * 8 / trace[-1] / 1000:.2f} Mbit/s"

    return (
        f"a simulated {link.name} link ({rate(link.up)} up, {rate(link.down)} down, "
        f"{1000 * link.round_trip:.0f} ms round trip)"
    )


def _instructions(server: str, photographs: dict[View, Path]) -> str:
    front, back = photographs[View.FRONT], photographs[View.BACK]
    curl = ["curl", "-N", "-A", "iPhone", "-F", f"front_image=@{front}", "-F", f"back_image=@{back}"]
    local_command = terminal.command("analyze", front, "--back", back, "--server", server)
    return (
        f"\nStill serving. In a browser: {server}/\n"
        f"With curl, as a phone: {shlex.join([*curl, f'{server}/mobile-upload'])}\n"
        f"From here: {local_command}\n"
        "Ctrl-C ends it."
    )


def local_address() -> str:
    """The address of this machine in its local network; 127.0.0.1 if it is in none. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(UNUSED_ADDRESS)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _show_code(server: str) -> None:
    print_text("Everybody in this network can open it. Scan this with a phone's camera:\n")
    code = io.StringIO()
    segno.make(f"{server}/", error="m").terminal(code, compact=True)
    print_text(code.getvalue())
