"""Tests of the figures for boards of many pins, from labelled boxes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.evaluation.boards import Board, BoxedPin, figures, load, overlap


def board(*pins: BoxedPin) -> Board:
    return Board(Path("board.jpg"), pins)


def test_found_missed_wrong_and_without_a_box() -> None:
    given = board(
        BoxedPin("a", (0, 0, 100, 100)), BoxedPin("b", (200, 0, 300, 100)), BoxedPin("", (400, 0, 500, 100))
    )
    seen = [
        BoxedPin("a", (5, 5, 105, 105)),
        BoxedPin("c", (400, 0, 500, 100)),  # on a pin that the catalogue lacks: counted as wrong
        BoxedPin("d", (800, 0, 900, 100)),  # outside all labelled boxes: neither right nor wrong
    ]
    result = figures([given], [seen])
    assert result["recall"]["value"] == 0.5
    assert result["precision"]["value"] == 0.5
    assert result["F1"] == pytest.approx(0.5)
    assert result["found without a box"] == 1


def test_overlap() -> None:
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 1, 1), (2, 2, 3, 3)) == 0


def test_boards_are_read_and_bad_rows_named(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").touch()
    table = tmp_path / "boards.csv"
    table.write_text("board,pin_id,x0,y0,x1,y1\none,a,0,0,9,9\none,,10,0,19,9\n")
    (found,) = load(tmp_path)
    assert [pin.pin_id for pin in found.pins] == ["a", ""]
    table.write_text("board,pin_id,x0,y0,x1,y1\none,a,0,x,9,9\n")
    with pytest.raises(ValueError, match="line 2"):
        load(tmp_path)
    table.write_text("board,pin_id,x0,y0,x1,y1\ntwo,a,0,0,9,9\n")
    with pytest.raises(FileNotFoundError, match="two"):
        load(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "windows-1252", "utf-16"])
def test_boards_are_read_as_spreadsheets_write_them(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "Bär.jpg").touch()
    text = "sep=;\r\nBoard;Pin ID;x0;y0;x1;y1\r\nBär;a;0;0;9,5;9\r\n;;;;;\r\nBär;;10;0;19;9\r\n"
    (tmp_path / "boards.csv").write_bytes(text.encode(encoding))
    (found,) = load(tmp_path)
    assert found.path == tmp_path / "Bär.jpg"
    assert found.pins == (BoxedPin("a", (0, 0, 9.5, 9)), BoxedPin("", (10, 0, 19, 9)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("board,x0,y0,x1,y1\none,0,0,9,9\n", "boards.csv has no column pin_id"),
        (
            "board,pin_id,x0,y0,x1,y1\n,,,,,\none,a,0,0,9\n",
            "boards.csv line 3: x0, y0, x1, y1 must be numbers",
        ),
        ("board,pin_id,x0,y0,x1,y1\none,a,0,0,9,9,5\n", "boards.csv line 2: more values than columns"),
        ("board,pin_id,x0,y0,x1,y1\n,a,0,0,9,9\n", "boards.csv line 2: board is empty"),
    ],
)
def test_a_bad_table_of_boards_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "one.jpg").touch()
    (tmp_path / "boards.csv").write_text(text)
    with pytest.raises(ValueError, match="boards") as raised:
        load(tmp_path)
    assert said in str(raised.value)
