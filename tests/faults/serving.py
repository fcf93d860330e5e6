"""`tests.api.serving` with a shorter wait for a locked database, so that a lock does not delay a test by
seconds."""

from __future__ import annotations

import trio

from pinactors.records import database
from tests.api import serving

database.BUSY_MILLISECONDS = 200

if __name__ == "__main__":
    trio.run(serving.main)
