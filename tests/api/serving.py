"""Runs a server for tests: `python -m tests.api.serving '{"data": …}' drawn` prints its port.

The second argument is the analysis: `drawn` is the fast one of the tests, `pins` the real one.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from functools import partial

import trio

from pinactors import logs
from pinactors.api.launch import return_freed_memory
from pinactors.api.server import serve
from pinactors.settings import Settings
from tests.api import drawn


async def main() -> None:
    settings = Settings(**json.loads(sys.argv[1]))
    logs.configure(settings)
    async with trio.open_nursery() as nursery:
        run = partial(serve, settings)
        if sys.argv[2] == "drawn":
            run = partial(run, analysis=drawn.declare(settings), warm=drawn.warm)
        sys.stdout.write(f"{await nursery.start(run)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: the server ends with the tests
    return_freed_memory()
    trio.run(main)
