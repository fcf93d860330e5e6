"""Functions that all commands use: consoles, tables, progress, settings with readable errors."""

from __future__ import annotations

import csv
import functools
import logging
import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import pydantic
import typer
from dotenv import dotenv_values
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from pinactors import client
from pinactors.client import NotPinactors
from pinactors.client.transports import checked_key
from pinactors.errors import ExternalError
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import (
    FILE_VARIABLE,
    OLD_DATA_FOLDER,
    Settings,
    SettingUnusable,
    load,
    settings_file,
    unknown_variables,
)

T = TypeVar("T")

Host = Annotated[str | None, typer.Option(help="Address to bind to. [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to bind to; 0 picks a free one. [default: 8080]")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.", show_default=False
    ),
]


def number(value: float) -> float:
    """A callback of options: refuses NaN, which no limit excludes."""
    if math.isnan(value):
        raise typer.BadParameter("it must be a number")
    return value


def text(value: str | None) -> str | None:
    """A callback of options and arguments that are searched for: the text, also where the locale is not
    UTF-8. Refuses bytes that are not UTF-8."""
    try:
        return None if value is None else os.fsencode(value).decode("utf-8")
    except UnicodeError:
        raise typer.BadParameter("it is not UTF-8 text") from None


def _usable_key(key: str | None) -> str | None:
    """The key without white space around it, which a variable from a file can have."""
    try:
        return None if key is None else checked_key(key.strip())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Key = Annotated[
    str | None,
    typer.Option(
        envvar="PINACTORS_KEY", help="API key for the server.", show_default=False, callback=_usable_key
    ),
]

OTHER_VARIABLES = (FILE_VARIABLE, "PINACTORS_KEY", "PINACTORS_SLOT", "PINACTORS_FUZZ", "PINACTORS_TEST_PORT")
"""Variables of this program's clients, workers and tests, which are no settings."""

USAGE = 2
"""Exit status for errors that the caller can correct: a setting, a missing file. Other failures have status
1."""

PROBLEMS_SHOWN = 20
FOLDED_CELL = 10
"""Least width of a column whose cells continue in the next line."""

EXPECTED_ERRORS = (OSError, ValueError, PinactorsError, NotPinactors, ExternalError, csv.Error)
"""Errors with a cause outside of this program: they are shown as a message without a traceback."""

# Names, paths and messages are printed as they are: square brackets would be markup, and :fox: an emoji.
output = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
errors = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)


def stop(message: str, status: int = 1) -> NoReturn:
    """Ends the program with a message on standard error."""
    complain(message)
    raise typer.Exit(status)


def complain(message: str) -> None:
    """Prints a message on standard error."""
    errors.print(f"pinactors: {clean(message)}")


def complain_of(problems: Sequence[str], what: str) -> None:
    """Prints the problems on standard error, a line each; at most `PROBLEMS_SHOWN` if that is a terminal."""
    shown = PROBLEMS_SHOWN if errors.is_terminal else len(problems)
    for problem in problems[:shown]:
        errors.print(clean(problem))
    if len(problems) > shown:
        errors.print(f"… and {len(problems) - shown} more {what}; 2> FILE lists all.")


def clean(text: str) -> str:
    """The text with each unprintable character replaced, so that text from other sources is safe for a
    terminal."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in text)


def table(*headers: str, rows: Iterable[Sequence[str]], header: bool = True) -> None:
    """Prints a table that loses no text: on a terminal, cells of the wider columns continue in the next line;
    elsewhere each row is one line, for programs that read lines."""
    cells = [[*map(clean, row)] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headers, *cells, strict=True)]
    made = Table(*(Column(name, overflow="fold") for name in headers), show_header=header, box=None)
    for row in cells:
        made.add_row(*row)
    if not output.is_terminal:
        made.width = Measurement.get(output, output.options.update(max_width=sys.maxsize), made).maximum
    room = output.width - sum(min(width, FOLDED_CELL) + 2 for width in widths)
    for width, column in sorted(zip(widths, made.columns, strict=True), key=lambda one: one[0]):
        room -= max(0, width - FOLDED_CELL)
        column.no_wrap = room >= 0
    output.print(made)


def settings(assignments: list[str] | None = None, **flags: Any) -> Settings:
    """The settings: flags and `NAME=VALUE` assignments override the environment, which overrides the
    defaults. Ends the program if a setting is not valid."""
    given: dict[str, Any] = {}
    for assignment in assignments or []:
        name, equals, value = assignment.partition("=")
        if not equals or name not in Settings.model_fields:
            known = ", ".join(Settings.model_fields)
            stop(f"--set {assignment}: expected NAME=VALUE, where NAME is one of {known}", USAGE)
        given[name] = value
    assigned = set(given) - {name for name, value in flags.items() if value is not None}
    given.update({name: value for name, value in flags.items() if value is not None})
    try:
        chosen = load(**given)
    except SettingUnusable as error:
        stop(str(error), USAGE)
    except pydantic.ValidationError as error:
        stop("\n".join(_setting_error(problem, given, assigned) for problem in error.errors()), USAGE)
    unnamed = "data" not in given and not os.environ.get("PINACTORS_DATA")
    if unnamed and chosen.data == OLD_DATA_FOLDER:
        _print_once(
            f"pinactors: the data folder is {OLD_DATA_FOLDER.resolve()}, because it exists here; set "
            "PINACTORS_DATA to use it from any folder"
        )
    return chosen


def warn_of_unknown_variables() -> None:
    """Prints a line that names the `PINACTORS_…` variables, here and in the settings' file, that are no
    setting, if there are any."""
    file = settings_file()
    names_in_file = dotenv_values(file) if file is not None else {}
    unknown = unknown_variables({*os.environ, *names_in_file}, OTHER_VARIABLES)
    if unknown:
        names = ", ".join(
            f"{name} (did you mean {meant}?)" if meant else name for name, meant in unknown.items()
        )
        complain(f"variables that are not read: {names}")


@functools.cache
def _print_once(text: str) -> None:
    errors.print(text)


def _setting_error(problem: Any, given: dict[str, Any], assigned: set[str]) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    variable = f"PINACTORS_{name.upper()}"
    flag = f"--set {name}=…" if name in assigned else f"--{name.replace('_', '-')}"
    source = flag if name in given else variable
    field = Settings.model_fields.get(name)
    meaning = field.description if field else ""
    got = "" if field and not field.repr else f", got {problem['input']!r}"  # secrets are not printed
    return f"bad setting {name} ({source}): {problem['msg']}{got}. {meaning}".rstrip()


@contextmanager
def explaining(what: str = "") -> Iterator[None]:
    """For `EXPECTED_ERRORS` errors inside the `with`, ends the program with a message that begins with
    `what`."""
    try:
        yield
    except BaseExceptionGroup as group:
        if group.split(EXPECTED_ERRORS)[1] is not None:
            raise
        error: BaseException = group  # several at once have the same cause: the first says it
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        stop(f"{what}{error_text(error)}")
    except EXPECTED_ERRORS as error:
        stop(f"{what}{error_text(error)}")


class _Complaints(logging.Handler):
    """Prints each different warning once, on standard error."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server, self._told = server, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{self._server}: {record.getMessage()}"
        if text not in self._told:
            self._told.add(text)
            complain(text)


@contextmanager
def asking(server: str | None) -> Iterator[None]:
    """As `explaining`, for requests to `server`, if one is named: messages begin with it. Also prints the
    warnings of the client, such as that it still cannot connect."""
    if not server:
        with explaining():
            yield
        return
    logger, handler = logging.getLogger(client.__name__), _Complaints(server)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with explaining(f"{server}: "):
            yield
    finally:
        logger.propagate = True
        logger.removeHandler(handler)


def error_text(error: BaseException) -> str:
    """The error in one line, with the notes of an error that clients are told without its cause."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if not isinstance(error, PinactorsError):
        return str(error)
    if error.code is ErrorCode.UNAUTHORIZED:
        return f"{error}; --key or PINACTORS_KEY names it to this command"
    return ": ".join((str(error), *getattr(error, "__notes__", ())))


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows progress on standard error inside the `with`: a bar, or, if standard error is not a terminal, a
    line for each tenth. Yields a function to call with (done, total)."""
    if not errors.is_terminal:
        yield _progress_lines(what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def results_of(what: str, waiting: Sequence[Future[T]]) -> list[T]:
    """Waits for all results, showing progress, and returns them in order."""
    with progress_bar(what) as progress:
        for done, _ in enumerate(as_completed(waiting), 1):
            progress(done, len(waiting))
    return [future.result() for future in waiting]


def _progress_lines(what: str) -> Callable[[int, int], None]:
    last_tenth = -1

    def progress(done: int, total: int) -> None:
        nonlocal last_tenth
        tenth = 10 * done // max(total, 1)
        if tenth > last_tenth:
            last_tenth = tenth
            errors.print(f"{what.strip()} {done}/{total}")

    return progress


def command(*arguments: object, data: Path | None = None, catalog: Path | None = None) -> str:
    """A command line of this program that works as printed: it starts the interpreter if the shell would not
    find the program, is quoted if needed, and names the same data or catalogue folder if one was given."""
    if catalog is not None:
        arguments = (*arguments, "--catalog", catalog)
    elif data is not None:
        arguments = (*arguments, "--data", data)
    program = shutil.which("pinactors")
    on_path = program is not None and Path(program).parent == Path(sys.executable).parent
    start = ["pinactors"] if on_path else [sys.executable, "-m", "pinactors"]
    return shlex.join([*start, *map(str, arguments)])


def unicode() -> bool:
    """Whether standard output can show every character."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def interactive() -> bool:
    """Whether output goes to a terminal that can show a live display."""
    return output.is_terminal and os.environ.get("TERM") != "dumb"
