"""Tests of the README's pictures: how the terminal is drawn, and that no picture loads anything remote."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
PRINTED = """\
The server answers at http://127.0.0.1:40001 after 2.8 s.

A phone on a simulated lte link
   1.459 s  CONNECTION_ESTABLISHED    Connected
   2.267 s  ANALYSIS_COMPLETE         record 1, 1.75 s of work

A desktop that sends the same
"""


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    described = importlib.util.spec_from_file_location("draw", FOLDER / "draw.py")
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return module


def texts(svg: str) -> str:
    return re.sub(r"<[^>]*>", "\n", svg).replace("&#160;", " ")


def test_the_terminal_shows_what_a_phone_gets(draw: ModuleType, tmp_path: Path) -> None:
    draw.draw_terminal(PRINTED.splitlines())
    shown = texts((tmp_path / "terminal.svg").read_text("utf-8"))
    for words in ("$ pinactors demo", "A phone on", "CONNECTION_ESTABLISHED", "record 1, 1.75 s of work"):
        assert words in shown
    assert "The server answers" not in shown
    assert "A desktop" not in shown


def test_the_pictures_are_whole_and_ask_nothing_of_another_host() -> None:
    svg = (FOLDER / "terminal.svg").read_text("utf-8")
    assert "ANALYSIS_COMPLETE" in texts(svg)
    assert not re.search(r"url\(.?https?:|href=|@import|<script", svg)
    with Image.open(FOLDER / "page.png") as picture:
        picture.load()
        assert picture.width > 800
