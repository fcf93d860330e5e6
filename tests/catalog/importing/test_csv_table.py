"""Tests of CSV files as spreadsheets and scripts write them: which are read, which are refused, and the
messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.catalog.importing.csv_table import CsvTable, read_table

COLUMNS = ("pin_id", "name", "price")
TEXT = "pin_id,name,price\r\nA1,Café Müller,12.50\r\nA2,Plain,3\r\n"
ROWS = [
    (2, {"pin_id": "A1", "name": "Café Müller", "price": "12.50"}),
    (3, {"pin_id": "A2", "name": "Plain", "price": "3"}),
]


def table(tmp_path: Path, data: bytes | str, encoding: str = "") -> CsvTable:
    path = tmp_path / "pins.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_table(path, COLUMNS, encoding=encoding)


def rows(read: CsvTable) -> list[tuple[int, dict[str, str]]]:
    assert not [row.problem for row in read.rows if row.problem]
    return [(row.line, row.values) for row in read.rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_told_by_its_first_bytes(encoding: str, tmp_path: Path) -> None:
    read = table(tmp_path, TEXT.encode(encoding))
    assert rows(read) == ROWS
    assert read.notes == ()


def test_windows_1252_is_read_and_said_with_an_example(tmp_path: Path) -> None:
    read = table(tmp_path, TEXT.encode("windows-1252"))
    assert rows(read) == ROWS
    ((line, note),) = read.notes
    assert line == 2
    assert "Windows-1252" in note
    assert "'Café'" in note
    assert note.endswith('; if wrong, save the file as "CSV UTF-8"')


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("Король Лев", "windows-1251"),
        ("ピカチュウ", "shift_jis"),
        ("皮卡丘", "gbk"),
        ("Łódź", "windows-1250"),
        ("Róża", "windows-1250"),
        ("Ελλάδα", "windows-1253"),
        ("Käfer", "mac_roman"),
        ("Café", "mac_roman"),
        ("Käfer", "cp850"),
        ("Pokémon", "cp850"),
        ("güneş", "windows-1254"),
        ("ピンズ", "shift_jis"),
    ],
)
def test_another_encoding_is_refused_with_its_line_and_read_when_named(
    name: str, encoding: str, tmp_path: Path
) -> None:
    data = TEXT.replace("Plain", name).replace("Café Müller", "First").encode(encoding)
    with pytest.raises(ValueError, match=r'pins\.csv:3: .*: save the file as "CSV UTF-8"$'):
        table(tmp_path, data)
    assert rows(table(tmp_path, data, encoding))[1][1]["name"] == name


@pytest.mark.parametrize(
    "name",
    ["Pokémon", "It’s “new” – €5", "„Käfer“", "« Étoile »", "¿Qué? ¡Año!", "Mouse © ™ 1½", "Škoda", "wait…"],
)
def test_western_words_and_signs_are_windows_1252(name: str, tmp_path: Path) -> None:
    read = table(tmp_path, TEXT.replace("Plain", name).encode("windows-1252"))
    assert rows(read)[1][1]["name"] == name


def test_the_advice_about_an_encoding_is_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "pins.csv"
    path.write_bytes(TEXT.encode("windows-1252"))
    ((_, note),) = read_table(path, COLUMNS, encoding_advice="ask Anna").notes
    assert note.endswith("; if wrong, ask Anna")
    path.write_bytes(TEXT.replace("Plain", "Łódź").replace("Café Müller", "First").encode("windows-1250"))
    with pytest.raises(ValueError, match=r"probably not Windows-1252: ask Anna$"):
        read_table(path, COLUMNS, encoding_advice="ask Anna")


def test_utf_8_with_one_foreign_byte_is_not_taken_for_windows_1252(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pins\.csv:3: "):
        table(tmp_path, TEXT.encode().replace(b"Plain", b"Pl\xe4in"))


def test_an_encoding_that_does_not_fit_or_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pins\.csv:2: the text is not valid ascii"):
        table(tmp_path, TEXT, "ascii")
    with pytest.raises(ValueError, match="no encoding named 'klingon'"):
        table(tmp_path, TEXT, "klingon")
    with pytest.raises(ValueError, match=r"pins\.csv:2: the text is not valid UTF-8"):
        table(tmp_path, b"\xef\xbb\xbf" + TEXT.encode("windows-1252"))


def misread(name: str) -> str:
    """The name after a program has read its UTF-8 as Windows does with Windows-1252."""
    data = name.encode()
    return "".join(
        bytes([one]).decode("windows-1252" if one not in b"\x81\x8d\x8f\x90\x9d" else "latin-1")
        for one in data
    )


@pytest.mark.parametrize(
    "name",
    ["Café Señor", "“Hi” – it’s", "Álvaro", "PIÑA", "Crème brûlée", "Âge d'or", "Größe ½", "Pokémon™ ©"],
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_name_that_was_read_in_a_wrong_encoding_is_noted(name: str, times: int, tmp_path: Path) -> None:
    wrong = misread(name) if times == 1 else misread(misread(name))
    read = table(tmp_path, TEXT.replace("Plain", wrong))
    assert rows(read)[1][1]["name"] == wrong
    ((line, note),) = read.notes
    assert line == 3
    assert note.startswith(f"{wrong!r} was probably {name!r}: ")


@pytest.mark.parametrize("wrong", ["Caf\ufffd", "Caf\u00ef\u00bf\u00bd"])
def test_a_name_that_has_lost_letters_is_noted(wrong: str, tmp_path: Path) -> None:
    ((line, note),) = table(tmp_path, TEXT.replace("Plain", wrong)).notes
    assert line == 3
    assert note.startswith(f"{wrong!r} has lost letters")


def test_damaged_names_of_many_rows_are_noted_once(tmp_path: Path) -> None:
    more = "A3,CafÃ© 1,1\nA4,CafÃ© 2,1\nA5,CafÃ© 3,1\nA6,Caf\ufffd,1\nA7,surplus Ã©,1,1\n"
    (misread_line, one), (lost_line, other) = table(tmp_path, TEXT + more).notes
    assert (misread_line, lost_line) == (4, 7)
    assert "also in 2 other rows" in one
    assert "other row" not in other


@pytest.mark.parametrize(
    "name",
    [
        *("São Paulo", "SÃO PAULO", "Âge d'or", "Ã", "IRMÃ", "Â", "MAÇÃ – verde", "Ângela & João", "ÃO ÂU Ã"),
        *("Nguyễn Ánh", "TÂM ĐẮC", "QUÂN ®", "NESCAFÉ®", "château", "â€", "Mãe Âncora ½"),
    ],
)
def test_names_with_the_same_letters_are_no_damage(name: str, tmp_path: Path) -> None:
    assert table(tmp_path, TEXT.replace("Plain", name)).notes == ()


@pytest.mark.parametrize("sign", [";", "\t", "|", ","])
@pytest.mark.parametrize("announced", [True, False])
def test_separators(sign: str, announced: bool, tmp_path: Path) -> None:
    start = f"sep={sign}\r\n" if announced else ""
    read = table(tmp_path, start + TEXT.replace(",", sign))
    assert read.separator == sign
    assert rows(read) == [(line + announced, values) for line, values in ROWS]


def test_a_sep_line_that_was_saved_again(tmp_path: Path) -> None:
    assert len(rows(table(tmp_path, "sep=;;;\n" + TEXT.replace(",", ";")))) == 2


def test_headers_in_other_letters_and_order(tmp_path: Path) -> None:
    read = table(tmp_path, "Price, Pin ID ,other,NAME\n3,A1,x,Marlo\n")
    assert rows(read) == [(2, {"pin_id": "A1", "name": "Marlo", "price": "3"})]
    assert (read.header, read.unread) == (1, ("other",))


@pytest.mark.parametrize("header", ["pinId,Name,PRICE", "pin.id,“name”,price\u200b", "Pin-ID , Name:,Price"])
def test_headers_in_other_spellings(header: str, tmp_path: Path) -> None:
    read = table(tmp_path, f"{header}\nA1,Marlo,3\n")
    assert rows(read) == [(2, {"pin_id": "A1", "name": "Marlo", "price": "3"})]


def test_a_title_above_the_header_is_passed_over(tmp_path: Path) -> None:
    read = table(tmp_path, "My pins;;\nas of May\n\npin_id;name;price\nA1;Marlo;3\n")
    assert rows(read) == [(5, {"pin_id": "A1", "name": "Marlo", "price": "3"})]
    with pytest.raises(ValueError, match="has no column price; read with commas"):
        table(tmp_path, "pin_id,name\nx,y\npin_id,name,price\n")


def test_a_text_that_is_written_as_a_formula(tmp_path: Path) -> None:
    read = table(tmp_path, 'pin_id,name,price\n="001","=""A""",3\n')
    assert rows(read) == [(2, {"pin_id": "001", "name": "A", "price": "3"})]


def test_marks_at_a_files_ends(tmp_path: Path) -> None:
    """The file starts with two byte order marks and ends with the end-of-file character of DOS."""
    assert rows(table(tmp_path, "\ufeff\ufeff" + TEXT + "\x1a\n")) == ROWS


def test_blank_rows_are_skipped_and_lines_stay_right(tmp_path: Path) -> None:
    read = table(tmp_path, "\n\npin_id;name;price\n;;\nA1;x;3\n\n \nA2;y;4\n;;;;\n;;\n")
    assert [row.line for row in read.rows] == [5, 8]


def test_old_mac_line_ends(tmp_path: Path) -> None:
    assert rows(table(tmp_path, TEXT.replace("\r\n", "\r"))) == ROWS


def test_line_breaks_in_a_cell_become_a_space_and_the_line_is_where_the_row_begins(tmp_path: Path) -> None:
    read = table(tmp_path, 'pin_id,name,price\nA1,"Marlo \r\n the Fox",1\nA2,"two  spaces",2\n')
    assert [(row.line, row.values["name"]) for row in read.rows] == [(2, "Marlo the Fox"), (4, "two  spaces")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("A1,x,1,surplus", "more values than columns"),
        ("A1,x\0y,1", "name contains a control character (code 0)"),
        ("A1,#NAME?,1", "name contains the spreadsheet error #NAME?"),
        ("A1,#¡REF!,1", "name contains the spreadsheet error #¡REF!"),
        ("A1,x,#BEZUG!", "price contains the spreadsheet error #BEZUG!"),
        ("A1,x,########", "price contains the spreadsheet error ########"),
        ('A1,"x,1', "a quotation mark that opens here is never closed"),
        (f"A1,{'x' * 200_000},1", "not readable as CSV: field larger than field limit (131072)"),
    ],
    ids=["surplus", "NUL", "spreadsheet error", "Spanish", "German", "narrow", "open quotation", "huge"],
)
def test_a_bad_row_says_why_and_the_others_are_read(line: str, problem: str, tmp_path: Path) -> None:
    read = table(tmp_path, f"pin_id,name,price\nA0,before,1,\n{line}\n")
    assert [(row.line, row.problem) for row in read.rows] == [(2, ""), (3, problem)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04rest", "is an Excel or OpenDocument workbook, not CSV"),
        (b"\xd0\xcf\x11\xe0", "is an old Excel workbook"),
        (b"<html><table>", "is HTML or XML, not CSV"),
        (b"{\\rtf1", "is an RTF document, not CSV"),
        (b'[{"pin_id": 1}]', "is JSON, not CSV"),
        (b"", "is empty"),
        (b"\n;;\n", "is empty"),
        (
            b"pin_id;name\nA;b\n",
            "has no column price; read with semicolons between columns, it has these: pin_id, name",
        ),
        (b"pin_id,name,price,name\n", "has the column name twice"),
        (
            b'\npin_id,name,"price\n' + b"A1,Pin,1\n" * 20_000,
            ":2: the header is not readable as CSV: field larger than field limit (131072)",
        ),
    ],
)
def test_what_is_no_such_table_is_named(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^pins\.csv") as raised:
        table(tmp_path, data)
    assert said in str(raised.value)


def test_a_header_that_cannot_be_read_is_named_also_if_no_column_is_required(tmp_path: Path) -> None:
    path = tmp_path / "sets.csv"
    path.write_text('"front,back\n' + "a.jpg,b.jpg\n" * 20_000)
    with pytest.raises(ValueError, match=r"^sets\.csv:1: the header .* quotation mark in it never closed\?$"):
        read_table(path, (), ("front", "back"))
