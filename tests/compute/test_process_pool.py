"""The process pool of commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
import trio

from pinactors.compute.process_limits import THREAD_VARIABLES
from pinactors.compute.process_pool import ALLOCATOR_VARIABLES, process_pool
from tests.waiting import until


def main() -> None:
    """Starts a pool of one process, prints that process's id, and waits until it is killed."""
    with process_pool(1) as pool:
        os.write(1, b"%d\n" % pool.submit(os.getpid).result())
        signal.pause()


def alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def test_a_pools_process_has_one_thread_and_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*THREAD_VARIABLES, *ALLOCATOR_VARIABLES):
        monkeypatch.setenv(variable, "")  # so that the variable is restored
        monkeypatch.delenv(variable)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # as a user set it
    with process_pool(1) as pool:
        assert pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "3"
        assert pool.submit(os.getenv, "MALLOC_TRIM_THRESHOLD_").result() == str(64 << 20)


async def test_a_pools_process_ends_with_the_one_that_made_it() -> None:
    command = [sys.executable, "-c", "from tests.compute.test_process_pool import main; main()"]
    parent = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with trio.fail_after(60):
        async with parent.stdout:
            child = int(await parent.stdout.receive_some())
        assert alive(child)
        parent.kill()
        await parent.wait()
        await until(lambda: not alive(child))
