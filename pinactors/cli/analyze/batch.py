"""`pinactors analyze DIR`: analyses many pins in one run, with a progress bar; it can be interrupted and
continued."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import typer

from pinactors import client, components
from pinactors.cli import interruptible, terminal
from pinactors.cli.analyze import local, photo_sets, results
from pinactors.cli.analyze.photo_sets import PhotoSet
from pinactors.protocol import ErrorCode, PinactorsError, View, merge
from pinactors.settings import Settings

MAX_UPLOADS_AT_ONCE = 4
"""Number of uploads to a server at the same time."""

FINAL_ERRORS = (None, ErrorCode.INVALID_FORMAT, ErrorCode.TOO_LARGE)
"""Error codes of answers that another run would get again: successes, and failures that the photographs
cause."""

Analyse = Callable[[Mapping[View, Path]], Awaitable[list[bytes]]]


def analyze_many(
    source: Path,
    output: Path,
    server: str | None,
    key: str | None,
    unreachable_seconds: float,
    settings: Settings,
) -> None:
    """Analyses the pins in `source` (a folder or a CSV file) and writes the result files to `output`.

    Ends the program with status 1 if a pin failed, the server cannot be reached or refuses the key, 130 if it
    was interrupted: the same command then continues.
    """
    with terminal.explaining():
        reading = photo_sets.of_folder if source.is_dir() else photo_sets.of_manifest
        sets, problems, notes = reading(source)
        if not sets and not problems:
            raise ValueError(f"{source}: this is a folder without photographs")
        output.mkdir(parents=True, exist_ok=True)
        known = _read_entries(output / results.JSON_FILE)
        left = [one for one in sets if not _is_answered(one, known)]
    if server is None and left:
        local.prepare(settings)
    if len(left) < len(sets):
        terminal.errors.print(f"{len(sets) - len(left)} of {len(sets)} pins were already analysed.")
    finished: bool | None = True
    with terminal.asking(server):
        if left:
            finished = interruptible.run(
                _run, left, output / results.JSON_FILE, server, key, unreachable_seconds, settings
            )
    with terminal.explaining():
        done = _read_entries(output / results.JSON_FILE)
        answered = [_result(one, done[one.name]) for one in sets if _is_answered(one, done, even_failed=True)]
        results.write(output, answered, f"Pins of {source.resolve().name}")
    _print_summary(answered, output)
    if not finished:
        missing = len(sets) - len(answered)
        terminal.complain(f"{missing} of {len(sets)} pins were not analysed; the same command continues")
    terminal.complain_of(notes, "notes")
    terminal.complain_of([f"left out: {problem}" for problem in problems], "left out")
    if finished is None:
        raise typer.Exit(interruptible.INTERRUPTED)
    if not finished or problems or any(one.failed for one in answered):
        raise typer.Exit(1)


def _read_entries(path: Path) -> dict[str, dict[str, Any]]:
    """The entries that earlier runs have written, by name; incomplete lines are ignored."""
    known = {}
    if path.exists():
        for line in path.read_text("utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                known[str(entry["name"])] = entry
            except (ValueError, KeyError, TypeError):
                continue
    return known


def _is_answered(photo_set: PhotoSet, known: dict[str, dict[str, Any]], *, even_failed: bool = False) -> bool:
    entry = known.get(photo_set.name)
    if entry is None or entry.get("fingerprint") != photo_set.fingerprint:
        return False
    return even_failed or _error_code(entry["answer"]) in FINAL_ERRORS


def _error_code(answer: dict[str, Any]) -> str | None:
    """The error code of an answer, None if it is a success. Files of release 0.1.0 have answers without
    one: the photographs could not be read."""
    return None if answer["success"] else answer.get("errorCode", ErrorCode.PROCESSING_ERROR)


def _result(photo_set: PhotoSet, entry: dict[str, Any]) -> results.PinResult:
    return results.PinResult(
        photo_set.name, {str(view): path for view, path in photo_set.images.items()}, entry["answer"]
    )


async def _run(
    sets: list[PhotoSet],
    journal: Path,
    server: str | None,
    key: str | None,
    unreachable_seconds: float,
    settings: Settings,
) -> bool:
    """Analyses the sets and writes a line for each as soon as its answer exists. If the server cannot be
    reached or refuses the key, says so, leaves the remaining sets to the next run and returns False."""
    done = 0
    serving = True
    incomplete = await trio.to_thread.run_sync(_ends_incomplete, journal)
    with journal.open("a", encoding="utf-8") as file, terminal.progress_bar("analysing") as progress:
        progress(0, len(sets))  # before the workers start, which takes seconds
        async with _analysis_function(len(sets), server, key, unreachable_seconds, settings) as (
            analyse,
            at_once,
        ):
            limit = trio.CapacityLimiter(at_once)

            def note(line: str) -> None:
                file.write(f"{line}\n")
                file.flush()

            async def analyse_one(photo_set: PhotoSet) -> None:
                nonlocal done, serving
                async with limit:
                    if not serving:
                        return
                    try:
                        answer = await _answer(analyse, photo_set)
                    except (client.NetworkError, PinactorsError) as error:
                        if serving:
                            terminal.complain(f"{server}: {terminal.error_text(error)}")
                        serving = False
                        return
                    await trio.to_thread.run_sync(note, _line(photo_set, answer), limiter=writing)
                done += 1
                progress(done, len(sets))

            writing = trio.CapacityLimiter(1)
            if incomplete:
                note("")
            async with trio.open_nursery() as nursery:
                for photo_set in sets:
                    nursery.start_soon(analyse_one, photo_set, name=f"<analyze {photo_set.name}>")
    return serving


def _ends_incomplete(journal: Path) -> bool:
    """Whether the last line has no end, because an earlier run was killed."""
    with journal.open("a+b") as file:
        size = file.tell()
        file.seek(max(0, size - 1))
        return file.read() not in (b"", b"\n")


def _line(photo_set: PhotoSet, answer: dict[str, Any]) -> str:
    photographs = {str(view): str(path) for view, path in photo_set.images.items()}
    entry = {
        "name": photo_set.name,
        "fingerprint": photo_set.fingerprint,
        "photographs": photographs,
        "answer": answer,
    }
    return json.dumps(entry)


async def _answer(analyse: Analyse, photo_set: PhotoSet) -> dict[str, Any]:
    """The pin's answer. A failure of this pin becomes an answer too, so that the other pins are analysed.
    Raises what all other pins would get as well: `NetworkError`, `PinactorsError` (`unauthorized`)."""
    try:
        return merge.merge(await analyse(photo_set.images))
    except PinactorsError as error:
        if error.code is ErrorCode.UNAUTHORIZED:
            raise
        return {
            "success": False,
            "message": error.message,
            "error": error.detail,
            "errorCode": error.code,
        }
    except client.NetworkError:
        raise
    except OSError as error:
        reason = f"{error.filename or photo_set.name}: {error.strerror or error}"
        return {
            "success": False,
            "message": "The photographs cannot be read",
            "error": reason,
            "errorCode": ErrorCode.PROCESSING_ERROR,
        }


@asynccontextmanager
async def _analysis_function(
    count: int, server: str | None, key: str | None, unreachable_seconds: float, settings: Settings
) -> AsyncIterator[tuple[Analyse, int]]:
    """A function that analyses one set, and how many sets it may analyse at the same time."""
    if server is not None:

        async def ask(images: Mapping[View, Path]) -> list[bytes]:
            async with client.analyze(
                server, images, key=key, unreachable_seconds=unreachable_seconds
            ) as packets:
                return [received.raw async for received in packets]

        yield ask, MAX_UPLOADS_AT_ONCE
        return
    unhurried = local.unhurried(settings, count)
    analysis = components.declare(unhurried, catalog=settings.catalog_folder)
    async with local.pipeline(unhurried, analysis) as running:

        async def analyse(images: Mapping[View, Path]) -> list[bytes]:
            log = await running.open(images)
            await log.wait_closed()
            return list(log.packets)

        yield analyse, int(running.registry.statistics()["compute"].get("workers") or 1)


def _print_summary(answered: list[results.PinResult], output: Path) -> None:
    verdicts: dict[str, int] = {}
    for result in answered:
        verdict = "failed" if result.failed else str(result.answer.get("verdict"))
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    terminal.output.print(f"{len(answered)} pins: {counts or 'none'}.")
    for name in (results.PAGE_FILE, results.CSV_FILE, results.JSON_FILE):
        terminal.output.print(f"  {output / name}")
