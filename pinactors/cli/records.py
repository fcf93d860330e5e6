"""`pinactors records`: lists, shows, exports and erases finished analyses."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import trio
import typer

from pinactors.cli import terminal
from pinactors.cli.analyze import results, view
from pinactors.cli.keys import Data, with_records
from pinactors.protocol import merge
from pinactors.records import Filter, Records
from pinactors.records.listing import VERDICTS, moment_of
from pinactors.records.models import PAGE_LIMIT
from pinactors.settings import Settings
from pinactors.storage.images import open_image_store
from pinactors.storage.logs.database import is_shared
from pinactors.storage.logs.files import photographs
from pinactors.storage.logs.rows import unfinished_photographs

WithVerdict = Annotated[
    str | None, typer.Option("--verdict", help=f"Only those with this verdict: {', '.join(VERDICTS)}.")
]
WithPin = Annotated[
    str | None, typer.Option("--pin", help="Only those of this catalogue entry.", callback=terminal.text)
]
WithKey = Annotated[
    str | None, typer.Option("--key", help="Only those of the key with this name.", callback=terminal.text)
]
Since = Annotated[
    str | None, typer.Option(help="Only those from this day on, such as 2026-06-30, or from a time on; UTC.")
]
Until = Annotated[str | None, typer.Option(help="Only those before this day or time.")]
Number = Annotated[int, typer.Argument(metavar="N", min=1, help="Number of the analysis, from the list.")]

app = typer.Typer(no_args_is_help=True, help="List, show, export and erase what was analysed.")


@app.command("list")
def list_(
    verdict: WithVerdict = None,
    pin: WithPin = None,
    key: WithKey = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_LIMIT, help="Show at most this many.")] = 50,
    before: Annotated[int | None, typer.Option(min=1, help="Only numbers below this one.")] = None,
    data: Data = None,
) -> None:
    """List analyses, the newest first."""
    wanted = _filter(verdict, pin, key, since, until)
    rows, total = with_records(data, lambda records: records.page(wanted, limit, before))
    shown = []
    for row in rows:
        rating = "" if row.rating is None else str(row.rating)
        verdict_or_error = (row.verdict or row.error_code or "").replace("_", " ")
        when = f"{row.finished_at:%Y-%m-%d %H:%M}"
        named = (row.pin_id or "", row.pin_name or "", row.agreement)
        shown.append((str(row.number), when, verdict_or_error, rating, *named))
    terminal.table("record", "when (UTC)", "verdict", "rating", "pin", "name", "said", rows=shown)
    if rows and len(rows) < total and len(rows) == limit:
        terminal.errors.print(f"{total} in all; more with --before {rows[-1].number}.", style="dim")


@app.command()
def show(
    number: Number,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole answer, as a desktop client got it.")
    ] = False,
    data: Data = None,
) -> None:
    """Show one analysis: one line per packet, and its evidence."""
    found = with_records(data, lambda records: records.record(Filter(number=number)))
    if found is None:
        records = terminal.command("records", "list", data=data)
        terminal.stop(f"there is no record {number}; `{records}` shows them")
    if as_json:
        answer = merge.merge(found.packets)
        typer.echo(json.dumps(answer, ensure_ascii=not terminal.unicode(), indent=2))
        return
    for packet in found.packets:
        fields = json.loads(packet)
        terminal.output.print(f"{fields['packetType']:<24}  {view.summary(fields)}")
        if fields["packetType"] == "AUTHENTICATION_RESULT":
            terminal.output.print(view.verdict(fields))


@app.command()
def export(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    verdict: WithVerdict = None,
    pin: WithPin = None,
    key: WithKey = None,
    since: Since = None,
    until: Until = None,
    data: Data = None,
) -> None:
    """Write analyses as a table (CSV), as JSON lines, and as a page with the pictures."""
    wanted = _filter(verdict, pin, key, since, until)
    settings = terminal.settings(data=data)
    if (target / results.JSON_FILE).exists():
        terminal.stop(f"{target} already contains results", terminal.USAGE)
    with terminal.progress_bar("reading") as progress:
        found = with_records(data, lambda records: _results(records, wanted, settings, progress))
    with terminal.explaining():
        results.write(target, found, "Analysed pins")
    terminal.output.print(f"{len(found)} analyses were written to {target}.")


@app.command()
def erase(
    record: Annotated[int | None, typer.Option(min=1, help="The analysis with this number.")] = None,
    key: Annotated[
        str | None, typer.Option(help="All of the key with this name.", callback=terminal.text)
    ] = None,
    before: Annotated[str | None, typer.Option(help="All before this day, such as 2026-06-30.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    data: Data = None,
) -> None:
    """Erase analyses for good: packets, feedback, and photographs that no other analysis used.

    All conditions must hold: --key shop --before 2026-01-01 erases only analyses that match both. A running
    server can still send the packets of an erased analysis for the time of its setting `replay`.
    """
    if record is None and key is None and before is None:
        terminal.stop("say what to erase: --record N, --key NAME or --before DATE", terminal.USAGE)
    wanted = Filter(number=record, key=key, until=_moment("--before", before))
    settings = terminal.settings(data=data)
    total = with_records(data, lambda records: records.count(wanted))
    if not total:
        terminal.stop("there is no such analysis")
    if not yes and not typer.confirm(f"Erase {total} analyses for good?", err=True):
        raise typer.Exit(1)
    with terminal.progress_bar("erasing") as progress:
        erased = with_records(data, lambda records: _erase(records, wanted, settings, progress))
    terminal.output.print(f"{erased.analyses} analyses and {erased.photographs} photographs were erased.")
    if erased.kept:
        terminal.errors.print(
            f"{erased.kept} photographs were just sent again and kept; a server removes them if they are not "
            "used."
        )
    if erased.errors:
        terminal.stop(
            f"{len(erased.errors)} photographs could not be removed, which a server does later: "
            f"{terminal.error_text(erased.errors[0])}"
        )


@dataclass
class _ErasedTotals:
    """How many analyses and photographs were erased, how many photographs were kept because they are in use
    again, and why others could not be removed."""

    analyses: int = 0
    photographs: int = 0
    kept: int = 0
    errors: list[Exception] = field(default_factory=list)


async def _erase(records: Records, wanted: Filter, settings: Settings, progress: Any) -> _ErasedTotals:
    """Erases the matching analyses. Their rows are erased first, so that a photograph which cannot be removed
    keeps nothing else."""
    store = open_image_store(settings)
    total, done = await records.count(wanted), _ErasedTotals()
    in_use = await _in_use(settings)
    while (erased := await records.erase(wanted)).analyses:
        in_use |= await _in_use(settings)  # also before: a session that is recorded meanwhile leaves its log
        for sha256 in erased.photographs:
            try:
                is_removed = sha256 not in in_use and await trio.to_thread.run_sync(store.forget, sha256)
            except OSError as error:
                done.errors.append(error)
                continue
            done.photographs += is_removed
            done.kept += not is_removed
        done.analyses += erased.analyses
        progress(done.analyses, max(total, done.analyses))
    return done


async def _in_use(settings: Settings) -> set[str]:
    """Hashes of the photographs of sessions that are not recorded yet, on any master."""
    in_use = await trio.to_thread.run_sync(photographs, settings.journal_folder)
    return in_use | await unfinished_photographs(settings) if is_shared(settings) else in_use


async def _results(
    records: Records, wanted: Filter, settings: Settings, progress: Any
) -> list[results.PinResult]:
    """The answers of all matching analyses, newest first."""
    found: list[results.PinResult] = []
    before: int | None = None
    while True:
        rows, total = await records.page(wanted, PAGE_LIMIT, before)
        for row in rows:
            stored = await records.stream(row.stream_id)
            if stored is not None:
                pictures = {name: settings.images_folder / path for name, path in row.images.items()}
                found.append(results.PinResult(f"record {row.number}", pictures, merge.merge(stored.packets)))
            progress(len(found), total)
        if len(rows) < PAGE_LIMIT:
            return found
        before = rows[-1].number


def _filter(
    verdict: str | None, pin: str | None, key: str | None, since: str | None, until: str | None
) -> Filter:
    if verdict is not None and verdict not in VERDICTS:
        terminal.stop(f"--verdict {verdict}: expected one of {', '.join(VERDICTS)}", terminal.USAGE)
    return Filter(
        key=key,
        verdict=verdict,
        pin=pin,
        since=_moment("--since", since),
        until=_moment("--until", until),
    )


def _moment(option: str, text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        return moment_of(text)
    except ValueError:
        terminal.stop(f"{option} {text}: expected a day such as 2026-06-30", terminal.USAGE)
