"""The entry point of the command `pinactors`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pinactors import __main__, cli
from pinactors.compute.local import fork_server, worker


def test_what_every_worker_imports_again_is_light() -> None:
    program = "import sys, pinactors.__main__; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"numpy", "cv2", "trio", "quart", "typer", "rich", "peewee", "pydantic", "rapidocr"}
    assert not heavy & set(done.stdout.split())


def test_a_command_prefers_one_thread_to_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    monkeypatch.setattr(sys, "argv", ["pinactors", "catalog", "list"])
    monkeypatch.setattr(cli, "main", lambda: seen.extend(map(os.environ.get, worker.THREAD_VARIABLES)))
    for variable in worker.THREAD_VARIABLES:
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
