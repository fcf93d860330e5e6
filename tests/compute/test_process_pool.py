"""The process pool of commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import trio

from pinactors.compute.process_pool import process_pool
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
