"""The command `pinactors`: one module or package for each of its commands.

Input: the command line and `PINACTORS_…` variables. Output: text, JSON or files, and an exit status; errors
with a cause outside of this program are one line without a traceback. The server is reached only through
`api.launch`.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pinactors import __version__, logs
from pinactors.cli import terminal
from pinactors.settings import Settings

COMMANDS = {
    "serve": ("pinactors.cli.serve:serve", "Run the server."),
    "demo": ("pinactors.cli.demo:demo", "See everything work, on this machine, with made-up pins."),
    "analyze": ("pinactors.cli.analyze.single:analyze", "Analyse photographs of one pin, or of many."),
    "mcp": ("pinactors.cli.mcp.command:mcp", "Offer analyses to a language model (MCP)."),
    "proxy": ("pinactors.cli.proxy:proxy", "Run the proxy in front of one or many servers."),
    "evaluate": ("pinactors.cli.evaluate:evaluate", "Measure the engine on labelled photographs."),
    "calibrate": ("pinactors.cli.calibrate:calibrate", "Fit the evidence weights to labelled photographs."),
    "calibrate-search": (
        "pinactors.cli.calibrate_search:calibrate_search",
        "Fit the probability of a catalogue match.",
    ),
    "calibrate-cutouts": (
        "pinactors.cli.calibrate_cutouts:calibrate_cutouts",
        "Fit how pins are cut out of their background.",
    ),
    "catalog": ("pinactors.cli.catalog:app", "Import, list and show the reference catalogue."),
    "components": ("pinactors.cli.components:app", "List the components of an analysis, try a plug-in."),
    "keys": ("pinactors.cli.keys:app", "Add, list and revoke API keys."),
    "feedback": ("pinactors.cli.feedback:app", "Export what people said about analyses."),
    "records": ("pinactors.cli.records:app", "List, show, export and erase what was analysed."),
}
"""Each command: the function, or the `Typer` of a group of commands, that it is, and its line of help."""


class ImportedCommands(Mapping[str, Any]):
    """Click's commands by name. A command's module is imported when the command is asked for: all modules
    together take a second."""

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = COMMANDS[name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        alone = typer.Typer(rich_markup_mode=None)
        if isinstance(command, typer.Typer):
            alone.add_typer(command, name=name)
        else:
            alone.command(name)(command)
        return typer.main.get_group(alone).commands[name]


class Program(TyperGroup):
    """The group of all commands. Its help takes their lines from `COMMANDS`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = ImportedCommands()  # type: ignore[assignment]  # commands are added to the table

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = typer.Typer(
    cls=Program,
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
