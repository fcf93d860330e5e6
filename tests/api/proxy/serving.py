"""Runs a proxy or a master: `python -m tests.api.proxy.serving ROLE SETTINGS` prints its port."""

from __future__ import annotations

import json
import sys
from functools import partial

import trio

from pinactors import logs
from pinactors.api.proxy.app import serve_proxy
from pinactors.api.proxy.relay import session
from pinactors.api.server import serve
from pinactors.settings import Settings
from tests.api import drawn
from tests.api.wire import LIMIT


async def main() -> None:
    settings = Settings(**json.loads(sys.argv[2]))
    logs.configure(settings)
    if sys.argv[1] == "proxy":
        session.RECORD_GRACE_SECONDS = LIMIT  # a master may need long to store a record, on a busy machine
        run = partial(serve_proxy, settings)
    else:
        run = partial(serve, settings, analysis=drawn.declare(settings), warm=drawn.warm)
    async with trio.open_nursery() as nursery:
        sys.stdout.write(f"{await nursery.start(run)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main)
