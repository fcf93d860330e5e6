"""The command `pinactors`."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from pinactors import __version__, logs
from pinactors.cli import catalog, components, feedback, keys, records, terminal
from pinactors.cli.analyze.single import analyze
from pinactors.cli.calibrate import calibrate
from pinactors.cli.calibrate_cutouts import calibrate_cutouts
from pinactors.cli.calibrate_search import calibrate_search
from pinactors.cli.demo import demo
from pinactors.cli.evaluate import evaluate
from pinactors.cli.mcp.command import mcp
from pinactors.cli.proxy import proxy
from pinactors.cli.serve import serve
from pinactors.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=(
        "Authenticates, identifies and prices trading pins from photographs, and streams every result the "
        "moment it exists.\n\nStart with `pinactors demo`."
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pinactors {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options that every command has."""


app.command(short_help="Run the server.")(serve)
app.command(short_help="See everything work, on this machine, with made-up pins.")(demo)
app.command(short_help="Analyse photographs of one pin, or of many.")(analyze)
app.command(short_help="Offer analyses to a language model (MCP).")(mcp)
app.command(short_help="Run the proxy in front of one or many servers.")(proxy)
app.command(short_help="Measure the engine on labelled photographs.")(evaluate)
app.command(short_help="Fit the evidence weights to labelled photographs.")(calibrate)
app.command("calibrate-search", short_help="Fit the probability of a catalogue match.")(calibrate_search)
app.command("calibrate-cutouts", short_help="Fit how pins are cut out of their background.")(
    calibrate_cutouts
)
app.add_typer(catalog.app, name="catalog")
app.add_typer(components.app, name="components")
app.add_typer(keys.app, name="keys")
app.add_typer(feedback.app, name="feedback")
app.add_typer(records.app, name="records")


def main() -> None:
    """The entry point. Logs are warnings on standard error until a server's settings change that.

    Characters that the terminal's encoding lacks are printed as `?`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "replace":
            stream.reconfigure(errors="replace")
    logs.configure(Settings(log_level="warning"))
    try:
        app()
    except OSError as error:  # a path that cannot even be looked at, such as one in another user's folder
        terminal.complain(terminal.error_text(error))
        sys.exit(1)
