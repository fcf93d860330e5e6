"""The entry point of the command `pinactors`."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pinactors import __main__, cli
from pinactors.compute import process_limits
from pinactors.compute.local import fork_server
from pinactors.errors import INTERRUPTED


def test_what_every_worker_imports_again_is_light() -> None:
    program = "import sys, pinactors.__main__; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"numpy", "cv2", "trio", "quart", "typer", "rich", "peewee", "pydantic", "rapidocr"}
    assert not heavy & set(done.stdout.split())


def test_a_command_prefers_one_thread_to_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    monkeypatch.setattr(sys, "argv", ["pinactors", "catalog", "list"])
    monkeypatch.setattr(
        cli, "main", lambda: seen.extend(map(os.environ.get, process_limits.THREAD_VARIABLES))
    )
    for variable in process_limits.THREAD_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # as a user set it
    __main__.main()
    assert seen == ["3", "1", "1", "1"]


@pytest.mark.parametrize(
    ("arguments", "begun"),
    [
        (["serve", "--port", "0"], True),
        (["demo"], True),
        (["serve", "--help"], False),
        (["keys", "list"], False),
    ],
)
def test_the_fork_server_begins_before_the_server_is_imported(
    arguments: list[str], begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[object] = []
    monkeypatch.setattr(sys, "argv", ["pinactors", *arguments])
    monkeypatch.setattr(fork_server, "begin", order.append)
    monkeypatch.setattr(cli, "main", lambda: order.append("command"))
    __main__.main()
    assert order == [*([__main__.FOR_WORKERS] if begun else []), "command"]


def test_ctrl_c_during_the_imports_of_a_server_ends_it_without_a_traceback() -> None:
    """The signal also gets to the fork server, which imports at the same time."""
    program = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "pinactors.cli.serve":
            os.killpg(0, signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["pinactors", "serve", "--port", "0"]
from pinactors.__main__ import main
main()
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, start_new_session=True)
    # CPython may end by the signal itself, although the program has handled it: shells show 130 for both.
    assert ended.returncode in (INTERRUPTED, -signal.SIGINT)
    assert ended.stderr == ""


def test_ctrl_c_before_the_command_line_is_read_ends_without_a_traceback() -> None:
    program = """
import signal, sys
from pinactors import __main__
signal.signal(signal.SIGINT, signal.default_int_handler)  # as above

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "pinactors.cli":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
__main__.main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode in (INTERRUPTED, -signal.SIGINT)
    assert ended.stderr == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_a_program_without_standard_streams_runs_and_gives_no_file_their_numbers(
    closed: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    command = f'exec "$0" -m pinactors keys add shop --data "$1" {closed}'
    ended = subprocess.run(["sh", "-c", command, sys.executable, str(data)], timeout=120)
    assert ended.returncode == 0
    with closing(sqlite3.connect(data / "pinactors.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM api_key").fetchone() == (1,)
