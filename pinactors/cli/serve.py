"""`pinactors serve`: runs the server until it is stopped."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pinactors import logs
from pinactors.api.launch import run_master
from pinactors.cli import interruptible, terminal


def serve(
    host: terminal.Host = None,
    port: terminal.Port = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of database, images and catalogue. [default: this user's data folder]"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; 0: one per core. [default: 0]")
    ] = None,
    catalog: Annotated[
        Path | None,
        typer.Option(help="Catalogue folder to use instead of the data folder's.", show_default=False),
    ] = None,
    assignments: terminal.Assignments = None,
) -> None:
    """Serve uploads until SIGTERM or Ctrl-C, then let the running sessions finish.

    Every setting can also be given as a PINACTORS_… variable, such as PINACTORS_WORKERS=4; the server lists
    them at /docs/operations. Flags override variables. A second Ctrl-C ends everything immediately.
    """
    settings = terminal.settings(assignments, host=host, port=port, data=data, workers=workers)
    logs.configure(settings)
    terminal.warn_of_unknown_variables()
    with terminal.explaining("cannot serve: "):
        interruptible.run_server(partial(run_master, settings, catalog=catalog))
