"""Draws the README's pictures again: `python docs/pictures/draw.py`, with the extra `test` and Chromium.

The program starts the demonstration. The demonstration's output becomes `terminal.svg`; its page, with the
result of the example that the page offers, becomes `page.png`.
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
"""Colours in the picture's palette: the file has a tenth of the bytes, without a visible difference."""

RESULT_MILLISECONDS = 120_000
LAST_LINE = "Ctrl-C ends it."


@contextmanager
def demonstration() -> Iterator[list[str]]:
    """Starts the demonstration and yields its output lines while its server runs."""
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
    """Draws the lines of the demonstration, the packets that a phone gets, as a terminal."""
    start = next(number for number, line in enumerate(lines) if line.startswith("A phone on"))
    end = next(number for number, line in enumerate(lines) if "ANALYSIS_COMPLETE" in line)
    console = Console(width=COLUMNS, record=True, file=io.StringIO())
    console.print(Text("$ pinactors demo\n"))
    for line in lines[start : end + 1]:
        console.print(Text(line, overflow="ellipsis", no_wrap=True))
    svg = console.export_svg(title="pinactors")
    # Removes the fonts that would be loaded from other servers: the reader's own monospaced font is used.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (FOLDER / "terminal.svg").write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), "utf-8")


def draw_page(server: str) -> None:
    """Takes a screenshot of the page with the result of its example."""
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
