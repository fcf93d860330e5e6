"""Tests of the terminal's output: one line per packet, the live view, and no control characters."""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from pinactors.cli.analyze import view
from pinactors.client import Received
from pinactors.protocol import (
    AnalysisComplete,
    AuthenticationResult,
    Candidate,
    CharacterIdentification,
    ConnectionEstablished,
    DetailedAnalysis,
    ErrorCode,
    ErrorPacket,
    Estimate,
    Evidence,
    HtmlDisplayData,
    Packet,
    PricingAnalysis,
    ProcessingStarted,
    Suggestion,
    Verdict,
)

OPENED = ConnectionEstablished(message="Connected", stream_id="s", deadline_ms=90_000)
STARTED = ProcessingStarted(message="Analysis started")
AUTHENTICITY = AuthenticationResult(
    authentic=False,
    authenticity_rating=12,
    confidence=0.61,
    verdict=Verdict.COUNTERFEIT,
    evidence=[
        Evidence("waffle_edge_runoff", "A smooth rim surrounds the pattern", -0.7),
        Evidence("posts", "The back is covered", 0.0, assessed=False),
    ],
    advice=["Weigh it"],
)
CHARACTERS = CharacterIdentification(
    characters="Marlo",
    identification="<p>",
    candidates=[Candidate("P1", "Marlo the Fox", "Marlo", None, 2019, 0.914)],
    identified=True,
)
SUGGESTED = Suggestion(text="Marlo the Fox", kind="character", source="a-model")
PRICING = PricingAnalysis(pricing="<p>", estimate=Estimate("USD", 8.0, 9.5, 12.25, 14, "2025-06-30"))
UNPRICED = PricingAnalysis(pricing="<p>", estimate=None, reason="no sales of this pin")
DETAILS = DetailedAnalysis(analysis="<p>", details={"year": 2019, "colours": ["red"], "brand": "SALTBOX"})
DISPLAY = HtmlDisplayData(front_html="<p>", back_html="<p>")
COMPLETE = AnalysisComplete(
    id=7, message="Done", processing_time=2345, degraded=["details"], missing=["pricing"]
)
FAILED = ErrorPacket(
    message="Analysis cancelled", error="Its last reader left", error_code=ErrorCode.CANCELLED
)

WALK = (OPENED, STARTED, AUTHENTICITY, CHARACTERS, PRICING, DETAILS, DISPLAY, COMPLETE)


def received(packet: Packet, **changes: Any) -> Received:
    raw = msgspec.structs.replace(packet, session_id="251231120000", **changes).encode()
    return Received(raw, msgspec.json.decode(raw))


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The text that `view.output` printed."""
    text = io.StringIO()
    monkeypatch.setattr(view, "output", Console(file=text, width=100, highlight=False, soft_wrap=True))
    return text


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (OPENED, "Connected"),
        (AUTHENTICITY, "counterfeit, rating 12, confidence 0.61, 1 of 2 kinds of evidence assessed"),
        (CHARACTERS, "Marlo; Marlo the Fox (P1, score 0.91)"),
        (msgspec.structs.replace(CHARACTERS, characters=""), "Marlo the Fox (P1, score 0.91)"),
        (
            msgspec.structs.replace(CHARACTERS, characters="", identified=False),
            "not identified; closest: Marlo the Fox (P1, score 0.91)",
        ),
        (
            msgspec.structs.replace(
                CHARACTERS, suggestions=[SUGGESTED], candidates=[], characters="", identified=False
            ),
            "not identified; suggested by a-model, not verified: Marlo the Fox (character)",
        ),
        (PRICING, "USD 8.00 to 12.25, median 9.50 (14 sales, as of 2025-06-30)"),
        (UNPRICED, "no estimate: no sales of this pin"),
        (DETAILS, "year 2019; brand SALTBOX"),
        (DISPLAY, "display of front, back"),
        (COMPLETE, "record 7, 2.35 s of work, degraded: details, missing: pricing"),
        (FAILED, "Analysis cancelled (cancelled): Its last reader left"),
    ],
    ids=lambda value: value.packet_type if isinstance(value, Packet) else "",
)
def test_each_packet_in_one_line(packet: Packet, said: str) -> None:
    assert view.summary(received(packet).fields) == said


def test_a_packet_of_a_later_version_is_shown_by_name(screen: io.StringIO) -> None:
    with view.LineView() as lines:
        lines.packet(Received(b"{}", {"packetType": "SOMETHING_NEW", "sequence": 3}))
    assert "SOMETHING_NEW" in screen.getvalue()


def test_nothing_reaches_the_terminal_that_could_steer_it(screen: io.StringIO) -> None:
    hostile = CharacterIdentification(
        characters="\x1b[2J\x1b]0;owned\x07 [bold red]Marlo[/]",
        identification="",
        candidates=[],
        identified=True,
    )
    shown: tuple[view.ProgressView, ...] = (view.LineView(), view.LiveView())
    for one in shown:
        with one:
            one.packet(received(hostile))
    text = screen.getvalue()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold red]Marlo[/]" in text, "and markup is text like any other"


def test_lines_come_in_order_with_growing_times_and_the_upload_in_quarters(screen: io.StringIO) -> None:
    with view.LineView() as lines:
        for sent in range(0, 1001, 10):
            lines.uploaded(sent, 1000)
        for packet in WALK:
            lines.packet(received(packet))
    rows = screen.getvalue().splitlines()
    kinds = [row[12:].split()[0] for row in rows]
    assert kinds == ["upload"] * 4 + [packet.packet_type for packet in WALK]
    times = [float(row.split()[0]) for row in rows]
    assert times == sorted(times)


def test_the_live_picture_fills_in(screen: io.StringIO) -> None:
    live = view.LiveView()

    def picture() -> str:
        screen.truncate(0)
        screen.seek(0)
        view.output.print(live._picture())
        return screen.getvalue()

    before = picture()
    assert all(name in before for name in view.COMPONENTS.values())
    assert "✓" not in before
    live.uploaded(512, 1024)
    assert "50 %" in picture()
    live.packet(received(AUTHENTICITY))
    half = picture()
    assert half.count("✓") == 1
    assert "12 / 100" in half
    assert "waffle_edge_runoff" in half
    assert "-0.70" in half
    assert "Weigh it" in half
    assert half.index("waffle_edge_runoff") < half.index("Could not be assessed") < half.index("posts")
    assert "The back is covered: posts" in half
    assert half.index("What would help") < half.index("Weigh it")
    live.packet(received(COMPLETE))
    done = picture()
    assert "record 7" in done
    assert done.count("—") >= 4, "components without a packet are marked when all is over"


def test_the_bar_is_as_long_as_the_rating(screen: io.StringIO) -> None:
    def length(rating: int) -> int:
        screen.truncate(0)
        screen.seek(0)
        view.output.print(view.verdict(received(AUTHENTICITY, authenticity_rating=rating).fields))
        lines = screen.getvalue().splitlines()
        head = next(index for index, line in enumerate(lines) if f"{rating} / 100" in line)
        return lines[head + 1].count("█")

    whole = length(100)
    assert whole > 90
    assert length(0) == 0
    assert length(50) == pytest.approx(whole / 2, abs=1)
    assert length(3) in (2, 3)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_gets_the_whole_picture(width: int) -> None:
    text = io.StringIO()
    live = view.LiveView()
    for packet in WALK:
        live.packet(received(packet))
    Console(file=text, width=width, soft_wrap=True).print(live._picture())
    assert max(map(cell_len, text.getvalue().splitlines())) <= width
    together = "".join(text.getvalue().replace("│", " ").split())
    for said in ("smooth", "12/100", "Weighit", "record7", "Marlo", "theoddstenfold"):
        assert said in together, said


def test_no_colour_is_used_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True)
    console.print(view.verdict(received(AUTHENTICITY).fields))
    coloured = re.findall(r"\x1b\[[0-9;]*(?:3[0-7]|4[0-7]|9[0-7]|38|48)[0-9;]*m", text.getvalue())
    assert coloured == []
    assert "12 / 100" in text.getvalue()
