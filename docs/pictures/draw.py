"""Draws the README's pictures anew: `python docs/pictures/draw.py`, with the extra `test` and Chromium.

Starts the demonstration as a newcomer does. What it prints becomes `terminal.svg`; its page, with the example
that the page itself offers, becomes `page.png`.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).parent
COLUMNS = 112
SIZE = {"width": 1080, "height": 1000}
COLOURS = 128
"""Of the picture's palette: a tenth of the bytes, and no difference that one sees."""

RESULT_MILLISECONDS = 120_000
LAST_LINE = "Ctrl-C ends it."


@contextmanager
def demonstration() -> Iterator[list[str]]:
    """The lines of a demonstration that still serves."""
    command = [sys.executable, "-m", "pinactors", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.strip() == LAST_LINE:
                break
        try:
            yield lines
        finally:
            process.terminate()


def draw_terminal(lines: list[str]) -> None:
    """What a phone gets, as a terminal shows it."""
    start = next(number for number, line in enumerate(lines) if line.startswith("A phone on"))
    end = next(number for number, line in enumerate(lines) if "ANALYSIS_COMPLETE" in line)
    console = Console(width=COLUMNS, record=True, file=io.StringIO())
    console.print(Text("$ pinactors demo\n"))
    for line in lines[start : end + 1]:
        console.print(Text(line, overflow="ellipsis", no_wrap=True))
    svg = console.export_svg(title="pinactors")
    # No font from elsewhere: whoever looks at it has one of a terminal's.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (FOLDER / "terminal.svg").write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), "utf-8")


def draw_page(server: str) -> None:
    """The page with the result of its own example."""
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(server)
        page.click("#example")
        page.wait_for_selector(".feedback", timeout=RESULT_MILLISECONDS)
        page.wait_for_timeout(1000)
        shot = page.screenshot()
        browser.close()
    picture = Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(FOLDER / "page.png", optimize=True)


def main() -> None:
    with demonstration() as lines:
        draw_terminal(lines)
        found = re.search(r"In a browser: (\S+)", "\n".join(lines))
        assert found is not None, lines
        draw_page(found[1])


if __name__ == "__main__":
    main()
