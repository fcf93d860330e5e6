"""Tests of `pinactors analyze` on one pin: by a server, here, and with what is no photograph."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pillow_heif
import pytest
import trio
from PIL import Image

from pinactors.catalog.demo import DESIGNS
from pinactors.protocol import View
from tests.cli.samples import call, process


def test_a_board_is_searched_in_a_catalogue(
    drawn: Path, tmp_path: Path, photographs: dict[View, Path]
) -> None:
    empty = call("analyze", photographs[View.FRONT], "--board", "--data", tmp_path / "none")
    assert empty.exit_code == 0
    assert "contains no catalogue" in empty.stderr
    assert call("analyze", drawn, "--board").exit_code == 2

    assert call("catalog", "import", drawn, "--data", tmp_path / "data").exit_code == 0
    heic = tmp_path / "front.heic"
    with Image.open(photographs[View.FRONT]) as picture:
        half = picture.reduce(2)
        pillow_heif.from_pillow(half).save(heic, quality=95)
    found = json.loads(call("analyze", heic, "--board", "--json", "--data", tmp_path / "data").stdout)
    assert found[0]["pinId"] == DESIGNS[0].pin_id
    left, top, right, bottom = found[0]["box"]
    assert 0 <= left < right <= half.width + 1
    assert 0 <= top < bottom <= half.height + 1


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"hello", "not a photograph we can read"), (b"GIF89a", "a GIF picture"), (b"", "the file is empty")],
)
def test_a_file_that_is_no_photograph_is_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(content)
    result = call("analyze", "notes.txt", "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("pinactors: front photograph notes.txt: ")
    assert said in line


def test_a_pipe_is_no_photograph(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    result = call("analyze", "pipe.jpg", "--data", tmp_path / "data")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "front photograph pipe.jpg: this is not a regular file" in result.stderr


def test_analyze_by_a_server_as_json(served: str, photographs: dict[View, Path]) -> None:
    front, back = photographs[View.FRONT], photographs[View.BACK]
    result = call("analyze", front, "--back", back, "--server", served, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["success"] is True
    assert answer["complete"] is True
    assert answer["demonstration"] is True
    assert answer["candidates"][0]["pinId"] == "DEMO-01"
    assert answer["id"] == answer["recordNumber"]


def test_analyze_by_a_server_in_lines(served: str, photographs: dict[View, Path]) -> None:
    result = call("analyze", photographs[View.FRONT], "--server", served)
    assert result.exit_code == 0, result.output
    kinds = [line.split()[2] for line in result.stdout.splitlines() if " s  " in line[:14]]
    assert [kind for kind in kinds if kind != "upload"][:2] == [
        "CONNECTION_ESTABLISHED",
        "PROCESSING_STARTED",
    ]
    assert kinds[-1] == "ANALYSIS_COMPLETE"
    assert len(kinds) == len(set(kinds) - {"upload"}) + kinds.count("upload"), "each packet once"
    assert "demonstration" in result.stdout


def test_analyze_something_that_is_no_photograph(served: str, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a photograph at all")
    result = call("analyze", tmp_path / "notes.jpg", "--server", served)
    assert result.exit_code == 1
    assert "invalid_format" in result.output
    assert "Traceback" not in result.output


def test_analyze_here_without_a_server(photographs: dict[View, Path], tmp_path: Path) -> None:
    """Real workers analyse with an empty catalogue: nothing is identified, and no data folder is created."""
    here = process(
        "analyze",
        photographs[View.FRONT],
        "--json",
        PINACTORS_DATA=str(tmp_path / "data"),
        PINACTORS_WORKERS="1",
    )
    output, said = here.communicate(timeout=120)
    assert here.returncode == 0, said
    assert f"{tmp_path / 'data' / 'catalog'} contains no catalogue: no pin can be identified." in said
    answer = json.loads(output)
    assert answer["success"] is True
    assert answer["candidates"] == []
    assert answer["estimate"] is None
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_an_analysis_without_a_traceback(
    times: int, photographs: dict[View, Path], tmp_path: Path
) -> None:
    """The analysis cannot end earlier: it waits for a vision server that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        here = process(
            "analyze",
            photographs[View.FRONT],
            PINACTORS_DATA=str(tmp_path / "data"),
            PINACTORS_WORKERS="1",
            PINACTORS_VISION_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/v1",
            PINACTORS_VISION_MODEL="silent",
            PINACTORS_VISION_SECONDS="600",
        )
        assert here.stdout is not None
        assert "CONNECTION_ESTABLISHED" in here.stdout.readline()
        for _ in range(times):
            os.killpg(here.pid, signal.SIGINT)
            time.sleep(0.02)  # else both arrive as one
        _, said = here.communicate(timeout=120)
    # At its end the interpreter lets a signal kill it again: shells show 130 for that too.
    assert here.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in said


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_a_server_that_refuses_is_told_before_the_time_is_over(
    many: bool, photographs: dict[View, Path], tmp_path: Path
) -> None:
    front = photographs[View.FRONT]
    result = call(
        "analyze",
        front.parent if many else front,
        *("--output", tmp_path / "results"),
        *("--server", "http://127.0.0.1:9", "--unreachable-seconds", "1"),
    )
    assert result.exit_code == 1
    first, last, *rest = (line for line in result.stderr.splitlines() if line.startswith("pinactors: "))
    assert first.startswith("pinactors: http://127.0.0.1:9: cannot connect: ")
    assert first.endswith("; trying for 1 s")
    assert "no connection to the server for 1 s" in last
    left = "pinactors: 1 of 1 pins were not analysed; the same command continues"
    assert rest == ([left] if many else [])


def test_an_unknown_server_is_told_at_once(
    photographs: dict[View, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(host: str, port: int) -> trio.SocketStream:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio, "open_tcp_stream", unknown)
    began = time.monotonic()
    result = call(
        "analyze", photographs[View.FRONT], "--server", "http://nonsense", "--unreachable-seconds", "600"
    )
    assert time.monotonic() - began < 300
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("pinactors: http://nonsense: cannot connect: ")
    assert line.endswith("Name or service not known")
