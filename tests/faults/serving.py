"""`tests.api.serving` with a database that is given up sooner: a lock then costs a test no seconds."""

from __future__ import annotations

import trio

from pinactors.records import database
from tests.api import serving

database.BUSY_MILLISECONDS = 200

if __name__ == "__main__":
    trio.run(serving.main)
