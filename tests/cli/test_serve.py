"""Tests of `pinactors serve`: what keeps a server from starting."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.samples import call


def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (["serve"], ["proxy", "--master", "http://127.0.0.1:9"]):
            result = call(*command, "--port", port, "--data", tmp_path / "data")
            assert result.exit_code == 1
            assert f"cannot serve: 127.0.0.1:{port} is taken: another program listens there" in result.stderr


@pytest.mark.parametrize(
    "command", [["serve"], ["proxy", "--master", "http://127.0.0.1:9"], ["keys", "add", "a"]], ids=" ".join
)
def test_a_data_folder_that_cannot_be_written_is_named(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = call(*command, "--data", tmp_path / "file" / "data")
    assert result.exit_code == 1
    assert f"the data folder {tmp_path / 'file' / 'data'} cannot be written: Not a directory" in result.stderr
