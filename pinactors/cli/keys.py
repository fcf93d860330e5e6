"""`pinactors keys`: who may upload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import trio
import typer
from rich.table import Table

from pinactors.cli import terminal
from pinactors.records import Records
from pinactors.storage.folders import make_writable

T = TypeVar("T")
Data = Annotated[Path | None, typer.Option(help="Data folder. [default: pinactors-data]")]

app = typer.Typer(
    no_args_is_help=True,
    help="Add, list and revoke API keys. Without any key the server is open to everybody.",
)


@app.command()
def add(name: Annotated[str, typer.Argument(help="Who it is for.")], data: Data = None) -> None:
    """Make a key and print it. It is shown this once and stored only as a hash."""
    terminal.output.print(with_records(data, lambda records: records.add_key(name)), markup=False)
    terminal.errors.print(
        "Send it as x-api-key or Authorization: Bearer. It cannot be shown again.", style="dim"
    )


@app.command("list")
def show(data: Data = None) -> None:
    """List the keys: number, name, first characters, dates."""
    table = Table("key", "name", "starts with", "created", "revoked", box=None)
    for key in with_records(data, lambda records: records.keys()):
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        table.add_row(str(key.id), terminal.clean(key.name), f"{key.prefix}…", created, revoked)
    terminal.output.print(table)


@app.command()
def revoke(key: Annotated[int, typer.Argument(help="Number from the list.")], data: Data = None) -> None:
    """Revoke a key: it is refused from the next request on."""
    if not with_records(data, lambda records: records.revoke_key(key)):
        terminal.stop(f"there is no active key {key}; `pinactors keys list` shows them")
    terminal.output.print(f"Key {key} is revoked.")


def with_records(data: Path | None, work: Callable[[Records], Awaitable[T]]) -> T:
    settings = terminal.settings(data=data)
    with terminal.explaining():
        make_writable(settings.data, "data folder")

    async def within() -> T:
        records = await Records.open(settings)
        try:
            return await work(records)
        finally:
            with trio.CancelScope(shield=True):
                await records.close()

    with terminal.explaining():
        return trio.run(within)
