"""`pinactors keys`: adds, lists and revokes the API keys of a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import trio
import typer

from pinactors.cli import terminal
from pinactors.protocol import PinactorsError
from pinactors.records import Records
from pinactors.records.keys import check_name
from pinactors.records.models import LARGEST_INTEGER
from pinactors.storage.folders import make_writable
from pinactors.webhooks.addresses import check_url

T = TypeVar("T")
Which = Annotated[
    str,
    typer.Argument(
        help="Number of the key, from the list, or its name if no other active key has it.",
        callback=terminal.text,
    ),
]
Data = Annotated[Path | None, typer.Option(help="Data folder. [default: this user's data folder]")]

app = typer.Typer(
    no_args_is_help=True,
    help="Add, list and revoke API keys. Without any key the server is open to everybody.",
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the key: who it is for.", callback=terminal.text)],
    webhook: Annotated[str | None, typer.Option(help="URL its sessions' events are sent to.")] = None,
    data: Data = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Allow everybody's analyses and editing the catalogue (/admin).")
    ] = False,
) -> None:
    """Make a key and print it; with a webhook, also print the secret that signs its events.

    The key is shown only this once, and stored only as a hash.
    """
    with terminal.explaining():  # before a data folder is begun
        name = check_name(name)
    url = _checked(webhook, data)

    async def make(records: Records) -> tuple[str, str | None]:
        key = await records.add_key(name, url, admin=admin)
        number = await records.authenticate(key)
        return key, await records.webhook_secret(int(number or 0)) if url else None

    key, secret = with_records(data, make, may_begin=True)
    with terminal.explaining():  # keeps a server closed even if its database is lost before its first start
        terminal.settings(data=data).had_keys_file.touch()
    terminal.output.print(key)
    terminal.errors.print(
        "Send it as x-api-key or Authorization: Bearer. It cannot be shown again.", style="dim"
    )
    if secret is not None:
        terminal.output.print(secret)
        terminal.errors.print("The second line is the secret that signs its events.", style="dim")


@app.command()
def webhook(
    key: Which,
    url: Annotated[str | None, typer.Argument(help="URL its events are sent to; '' for none.")] = None,
    data: Data = None,
) -> None:
    """Set the URL for a key's events, if one is given, and print the secret that signs them."""
    checked = _checked(url, data)
    number = _numbered(key, data)

    async def change(records: Records) -> str | None:
        if url is not None:
            await records.set_webhook(number, checked)
        return await records.webhook_secret(number)

    secret = with_records(data, change)
    if secret is None:
        _no_such_key(key, data)
    terminal.output.print(secret)


@app.command("list")
def show(data: Data = None) -> None:
    """List the keys: number, name, first characters, right, dates, webhook."""
    keys = with_records(data, lambda records: records.keys())
    right = ["right"] if any(key.admin for key in keys) else []
    rows = []
    for key in keys:
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        who = [str(key.id), key.name, f"{key.prefix}…"]
        may = ["admin" if key.admin else ""] if right else []
        rows.append([*who, *may, created, revoked, key.webhook or ""])
    terminal.table("key", "name", "starts with", *right, "created", "revoked", "webhook", rows=rows)


@app.command()
def revoke(key: Which, data: Data = None) -> None:
    """Revoke a key: it is refused from the next request on."""
    number = _numbered(key, data)
    if not with_records(data, lambda records: records.revoke_key(number)):
        _no_such_key(key, data)
    terminal.output.print(f"Key {number} is revoked.")


def _numbered(key: str, data: Path | None) -> int:
    """The number of a key that is given by its number or name. Ends the program if no active key, or more
    than one, has that name."""
    if key.isascii() and key.isdigit():
        if not 1 <= int(key[: len(str(LARGEST_INTEGER)) + 1]) <= LARGEST_INTEGER:
            raise typer.BadParameter(f"{key} is not in the range of numbers of keys")
        return int(key)
    keys = with_records(data, lambda records: records.keys())
    found = [one.id for one in keys if one.name == key and one.revoked_at is None]
    if not found:
        _no_such_key(repr(key), data)
    if len(found) > 1:
        numbers = ", ".join(map(str, found))
        terminal.stop(f"the keys {numbers} have the name {key!r}: give the number", terminal.USAGE)
    return found[0]


def _checked(url: str | None, data: Path | None) -> str | None:
    """The checked webhook URL; None if none is given."""
    if not url:
        return None
    try:
        return check_url(url, private=terminal.settings(data=data).webhook_private)
    except PinactorsError as error:
        terminal.stop(error.detail)


def with_records(data: Path | None, work: Callable[[Records], Awaitable[T]], *, may_begin: bool = False) -> T:
    """Runs `work` on the records. Begins a new data folder only with `may_begin`: elsewhere the name of one
    that does not exist is a mistake."""
    settings = terminal.settings(data=data)
    if not may_begin and not settings.database_url and not settings.data.exists():
        terminal.stop(f"there is no data folder {settings.data}")
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


def _no_such_key(key: str, data: Path | None) -> NoReturn:
    keys = terminal.command("keys", "list", data=data)
    terminal.stop(f"there is no active key {key}; `{keys}` shows them")
