"""`pinactors proxy`: runs the proxy between phones and masters until it is stopped."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pinactors import logs
from pinactors.api.launch import run_proxy
from pinactors.cli import interruptible, terminal


def proxy(
    master: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="A master; may be repeated. `URL;weight=2` gives it twice the share.",
            show_default=False,
        ),
    ] = None,
    host: terminal.Host = None,
    port: terminal.Port = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of spools and journals. [default: this user's data folder]")
    ] = None,
    assignments: terminal.Assignments = None,
) -> None:
    """Relay uploads to masters and their packets to phones until SIGTERM or Ctrl-C.

    If a master dies, the proxy continues its sessions at another one; phones do not notice. Every setting can
    also be given as a PINACTORS_… variable; a server lists them at /docs/operations.
    """
    masters = " ".join(master) if master else None
    settings = terminal.settings(assignments, host=host, port=port, data=data, proxy_masters=masters)
    logs.configure(settings)
    terminal.warn_of_unknown_variables()
    with terminal.explaining("cannot serve: "):
        interruptible.run_server(partial(run_proxy, settings))
