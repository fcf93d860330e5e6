"""A reader for CSV files as spreadsheets and scripts write them: encoding, separator, header, and rows by
line.

It detects UTF-8 and UTF-16 with or without a byte order mark, and Windows-1252 if the text can be nothing
else; comma, semicolon, tab or bar as separator, from Excel's `sep=` line or from the header. A file that can
be read in two ways is refused with the line and the form to use.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_FILE_BYTES = 512 << 20
"""Largest CSV file that is read, because its whole text is held in memory."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""Separators tried, the documented one first, and their names in messages."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_FILE_SIGNATURES = {
    b"PK\x03\x04": "an Excel or OpenDocument workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a compressed file",
    b"{\\rtf": "an RTF document",
    b"<": "HTML or XML",
    b"{": "JSON",
    b"[": "JSON",
}
_OTHER_ENCODING_SIGNS = re.compile(
    r"[^\x00-\x7f]{3,}"  # words of nothing but accented letters: Cyrillic, Greek, Japanese
    r"|[\u00a2-\u00a8\u00ac\u00af\u00b1-\u00b3\u00b6\u00b8\u00b9\u00bc\u00be\u00f7][A-Za-z\u00c0-\u00ff]"
    r"|[A-Za-z\u00c0-\u00ff][\u00a1\u00bf][a-z\u00e0-\u00ff]"  # signs within words: Polish, Czech
    r"|[A-Za-z][\u201a\u201e\u2039\u00a4\u0192]|\u0192[A-Za-z]"  # quotes that open behind a letter: DOS
    r"|[A-Za-z][\u201c\u201d\u02c6\u2020\u2021\u2030][a-z]"  # signs within words: DOS, Macintosh
    r"|[A-Za-z][\u0160\u017d\u0178][a-z]|[a-z][\u0160\u017d\u0178]"  # capitals within words: the same
    r"|[a-z]\u00fe(?![A-Za-z\u00c0-\u00ff])"  # a thorn that ends a word: Turkish
)
"""Character sequences that show that text decoded as Windows-1252 has another encoding."""

SAVE = 'save the file as "CSV UTF-8"'
"""What to do about a file in another format or encoding."""

_MISREAD_SIGNS = ("Ã", "Â", "â€")
"""What the first bytes of accented letters, signs and quotes in UTF-8 become if read as Windows-1252."""

_LOST_SIGNS = ("\ufffd", "\u00ef\u00bf\u00bd")
"""The replacement character, which programs write for bytes that they could not read; the same misread."""

_EXAMPLE_CHARACTERS = 60

_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")

_SPREADSHEET_ERROR = re.compile(
    r"#(N/A|NAME\?|REF!|VALUE!|DIV/0!|NUM!|NULL!|SPILL!|CALC!|GETTING_DATA|#+"
    r"|NV|WERT!|BEZUG!|ZAHL!|VALEUR!|NOM\?|NOMBRE!|NUL!|N/D|¡(VALOR|REF|NUM|DIV/0|NULO)!|¿NOMBRE\?"
    r"|VALORE!|RIF!|NOME\?|VALOR!|NULO!|N/B|WAARDE!|VERW!|NAAM\?|GETAL!|DEEL/0!|ARG!|ADR!|NAZWA\?|LICZBA!)"
)
"""Excel's error values in English, German, French, Spanish, Italian, Portuguese, Dutch and Polish; only
number signs mean that a column was too narrow."""

_TEXT_FORMULA = re.compile(r'="([^"]*)"')
"""The formula with which exports prevent Excel from reading a text as a number: ="001"."""

_TITLE_LINES = 10
"""Most lines of a title above the header."""

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_LINE_BREAK = re.compile(r"[ \t]*[\r\n]+[ \t]*")
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?\1*\s*', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row's values by column name, without line breaks and white space at the ends. `line` is the line of
    the file on which the row begins, counted from 1; `problem` says why the row is not valid, or is empty."""

    line: int
    values: dict[str, str]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A CSV file's rows and its separator. `notes` are assumptions and doubts to report to the file's author:
    (line, note). `unread` are the names of the columns that were not asked for, in the header on line
    `header`; `lacking` those of the optional columns that the file does not have."""

    name: str
    rows: tuple[CsvRow, ...]
    separator: str
    notes: tuple[tuple[int, str], ...]
    header: int
    unread: tuple[str, ...]
    lacking: frozenset[str]


def read_table(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    encoding: str = "",
    encoding_advice: str = SAVE,
) -> CsvTable:
    """Reads the table in `path`: only the named columns, in any order and letter case.

    `encoding` is Python's name of the file's encoding if it is known; `encoding_advice` is what messages say
    to do if it cannot be told, or was told wrongly. Raises `ValueError`, naming the file and if possible the
    line, for a file that is not such a table; `OSError`.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_FILE_BYTES >> 20} MB")
    data = path.read_bytes()
    for start, what in _OTHER_FILE_SIGNATURES.items():
        if data.startswith(start):
            raise ValueError(f'{path.name} is {what}, not CSV: save it as "CSV UTF-8"')
    text, notes = _text(path.name, data, encoding, encoding_advice)
    lines = io.StringIO(text.lstrip("\ufeff").rstrip("\r\n\x1a"), newline="").readlines()
    skipped, separator = _declared_separator(lines)
    while skipped < len(lines) and not lines[skipped].strip(" \t\r\n,;|"):
        skipped += 1
    if skipped == len(lines):
        raise ValueError(f"{path.name} is empty")
    wanted = (*required, *optional)
    skipped = _below_title(lines, skipped, separator, required)
    separator = separator or _guessed(lines[skipped:], wanted)
    rows = tuple(_rows(path.name, lines, skipped, separator, required, wanted))
    names = _names(lines[skipped:], separator)
    unread = tuple(name.strip() for name in names if name.strip() and _header([name])[0] not in wanted)
    lacking = frozenset(optional).difference(_header(names))
    notes += tuple(_damage(rows))
    return CsvTable(path.name, rows, separator, notes, skipped + 1, unread, lacking)


def _text(
    name: str, data: bytes, encoding: str, encoding_advice: str
) -> tuple[str, tuple[tuple[int, str], ...]]:
    """The file's text, and notes about assumptions."""
    if encoding:
        try:
            return data.decode(encoding), ()
        except LookupError:
            raise ValueError(f"there is no encoding named {encoding!r}") from None
        except UnicodeDecodeError as error:
            line = 1 + data.count(b"\n", 0, error.start)
            raise ValueError(f"{name}:{line}: the text is not valid {encoding}") from None
    for mark, marked in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decoded(name, data, marked), ()
    if len(data) % 2 == 0 and 0 in data[:2] and data[:2] != b"\0\0":
        return _decoded(name, data, "utf-16-le" if data[1] == 0 else "utf-16-be"), ()
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        return _windows(name, data, error.start, encoding_advice)


def _decoded(name: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        label = encoding.removesuffix("-sig").upper()
        line = 1 + data[: error.start].decode(encoding, "ignore").count("\n")
        raise ValueError(
            f'{name}:{line}: the text is not valid {label}, as its start says. Save the file as "CSV UTF-8"'
        ) from None


def _windows(name: str, data: bytes, first: int, advice: str) -> tuple[str, tuple[tuple[int, str], ...]]:
    """Decodes text that is not UTF-8 as Windows-1252, if that gives words of Western languages."""
    line = 1 + data.count(b"\n", 0, first)
    refusal = ValueError(f"{name}:{line}: the text is not UTF-8 and probably not Windows-1252: {advice}")
    try:
        text = data.decode("windows-1252")
    except UnicodeDecodeError as error:
        raise refusal from error
    if _UTF8.search(data) or _OTHER_ENCODING_SIGNS.search(text):
        raise refusal
    found = re.search(r"[^\s,;|\"]*[^\x00-\x7f][^\s,;|\"]*", text)
    example = found.group() if found else ""
    note = f"not UTF-8: the file was read as Windows-1252, for example {example!r}; if wrong, {advice}"
    return text, ((line, note),)


def _damage(rows: Sequence[CsvRow]) -> Iterator[tuple[int, str]]:
    """Notes about text that a program has damaged before: at most one of each kind, at the first such row."""
    misread: list[tuple[int, str, str]] = []
    lost: list[tuple[int, str]] = []
    for row in rows:
        if row.problem:
            continue
        restored = next(((value, was) for value in row.values.values() if (was := _restored(value))), None)
        if restored:
            misread.append((row.line, *restored))
        lossy = next((one for one in row.values.values() if any(sign in one for sign in _LOST_SIGNS)), None)
        if lossy:
            lost.append((row.line, lossy))
    if misread:
        line, value, was = misread[0]
        yield (
            line,
            f"{_example(value)} was probably {_example(was)}: a program has read UTF-8 as another encoding "
            f"and saved it so{_others(misread)}. Export the file again",
        )
    if lost:
        line, value = lost[0]
        yield (
            line,
            f"{_example(value)} has lost letters, which a program could not read and replaced by "
            f"U+FFFD{_others(lost)}. Export the file again",
        )


def _restored(text: str) -> str:
    """The text before its UTF-8 was read as Windows-1252, once or several times; empty if it was not."""
    if not any(sign in text for sign in _MISREAD_SIGNS):
        return ""
    try:
        # Windows reads the five bytes that Windows-1252 leaves undefined as control characters
        data = b"".join(one.encode("latin-1" if "\x80" <= one <= "\x9f" else "windows-1252") for one in text)
        was = data.decode("utf-8")
    except UnicodeError:
        return ""
    return _restored(was) or was


def _example(text: str) -> str:
    return repr(text if len(text) <= _EXAMPLE_CHARACTERS else f"{text[: _EXAMPLE_CHARACTERS - 1]}…")


def _others(damaged: Sequence[object]) -> str:
    more = len(damaged) - 1
    return f", also in {more} other row{'s' if more > 1 else ''}" if more else ""


def _declared_separator(lines: list[str]) -> tuple[int, str]:
    """The number of lines before the header and the separator, from Excel's `sep=` line; 0 and "" without
    one."""
    declared = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    return (1, declared[1]) if declared else (0, "")


def _below_title(lines: list[str], first: int, separator: str, required: Sequence[str]) -> int:
    """The line of the header: the first one; if that names no column, the first line below that names all."""
    signs = [separator] if separator else list(SEPARATORS)
    for at in range(first, min(len(lines), first + _TITLE_LINES)):
        headers = [set(_header(_names(lines[at:], sign))) for sign in signs]
        if any(header.issuperset(required) for header in headers):
            return at
        if at == first and any(not header.isdisjoint(required) for header in headers):
            return first  # a header that lacks a column
    return first


def _guessed(lines: list[str], wanted: Sequence[str]) -> str:
    """The separator with which the header has most of the wanted columns."""
    found = {sign: len(set(_header(_names(lines, sign))) & set(wanted)) for sign in SEPARATORS}
    return max(found, key=lambda sign: found[sign])


def _names(lines: Sequence[str], separator: str) -> list[str]:
    """The columns' names as written; none if the header cannot be read with that separator."""
    try:
        return next(csv.reader(lines, delimiter=separator), [])
    except csv.Error:
        return []


def _header(names: Sequence[str]) -> list[str]:
    """The columns' names in the same spelling: Pin ID, pinId and pin.id become pin_id."""
    parted = (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name) for name in names)
    return [re.sub(r"[\W_]+", "_", name).strip("_").lower() for name in parted]


def _rows(
    file: str, lines: list[str], skipped: int, separator: str, required: Sequence[str], wanted: Sequence[str]
) -> Iterator[CsvRow]:
    reader = csv.reader(lines[skipped:], delimiter=separator)
    try:
        named = next(reader)
    except csv.Error as error:
        raise ValueError(
            f"{file}:{skipped + 1}: the header is not readable as CSV: {error}. Is a quotation mark in it "
            "never closed?"
        ) from None
    header = _header(named)
    places = {name: header.index(name) for name in wanted if name in header}
    missing = [name for name in required if name not in places]
    if missing:
        columns = ", ".join(" ".join(name.split()) for name in named if name.strip()) or "none"
        raise ValueError(
            f"{file} has no column {', '.join(missing)}; read with {SEPARATORS.get(separator, separator)} "
            f"between columns, it has these: {columns[:300]}"
        )
    twice = [name for name in places if header.count(name) > 1]
    if twice:
        raise ValueError(f"{file} has the column {', '.join(twice)} twice")
    while True:
        line = skipped + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield CsvRow(line, dict.fromkeys(wanted, ""), f"not readable as CSV: {error}")
            continue
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        values = {
            name: _value(cells[places[name]]) if name in places and places[name] < len(cells) else ""
            for name in wanted
        }
        last = skipped + reader.line_num == len(lines)
        unclosed = last and _unclosed(lines[line - 1 :], separator)
        yield CsvRow(line, values, _problem(cells, header, values, unclosed))


def _value(cell: str) -> str:
    value = _LINE_BREAK.sub(" ", cell).strip()
    text = _TEXT_FORMULA.fullmatch(value)
    return text[1] if text else value


def _unclosed(lines: list[str], separator: str) -> bool:
    try:
        for _ in csv.reader(lines, delimiter=separator, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _problem(cells: list[str], header: list[str], values: dict[str, str], unclosed: bool) -> str:
    if unclosed:
        return "a quotation mark that opens here is never closed"
    if any(cell.strip() for cell in cells[len(header) :]):
        return "more values than columns"
    for name, value in values.items():
        control = _CONTROL.search(value)
        if control:
            return f"{name} contains a control character (code {ord(control.group())})"
        if _SPREADSHEET_ERROR.fullmatch(value):
            return f"{name} contains the spreadsheet error {value}"
    return ""
