"""Journals: one file per session, from which a new proxy process continues the session. Packets are written
to the journal before any phone receives them.

The file format is that of `pinactors.storage.logs.files`, with the facts below. The files contain only the
hash of a key.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pinactors.pipeline.state import Fact
from pinactors.protocol.merge import ends
from pinactors.storage.logs.files import SUFFIX
from pinactors.storage.logs.packet_logs import Entry

SPOOL_SUFFIX = ".spool"


class Relayed(Fact, frozen=True):
    """The session began. `ends_at` is a Unix time; `spool` is the name of the file with its upload, None if
    there is no file or the upload is incomplete."""

    stream_id: str
    session_id: str
    owner: str
    ends_at: float
    spool: str | None = None
    content_type: str = ""
    idempotency_key: str = ""


class Moved(Fact, frozen=True):
    """The packets that follow come from the stream `stream_id` of `master`."""

    master: str
    stream_id: str


class Uploaded(Fact, frozen=True):
    """The upload, which was incomplete when the session began, is complete. Fields as in `Relayed`."""

    spool: str
    ends_at: float


_DECODER = msgspec.json.Decoder(Relayed | Moved | Uploaded)


@dataclass(slots=True)
class StoredSession:
    """A session read from its journal; `moved` is its last master, None before the first."""

    relayed: Relayed
    packets: list[bytes] = field(default_factory=list)
    moved: Moved | None = None

    @property
    def closed(self) -> bool:
        return ends(self.packets)


def replay(entries: Iterable[Entry]) -> StoredSession | None:
    """The session described by a journal's entries; None if they do not begin a session or cannot be
    decoded."""
    kept: StoredSession | None = None
    try:
        for kind, body in entries:
            if kind.startswith("P") and kept is not None:
                kept.packets.append(body)
            elif kind == "M":
                fact = _DECODER.decode(body)
                if isinstance(fact, Relayed):
                    kept = StoredSession(fact)
                elif kept is not None and isinstance(fact, Moved):
                    kept.moved = fact
                elif kept is not None:
                    kept.relayed = msgspec.structs.replace(
                        kept.relayed, spool=fact.spool, ends_at=fact.ends_at
                    )
    except ValueError:
        return None
    return kept


def expired(folder: Path, seconds: float, in_use: Callable[[str], bool]) -> Iterator[Path]:
    """Journals and spools that were not written to for `seconds` and are not `in_use`, which receives a
    file's name without suffix."""
    oldest = time.time() - seconds
    for entry in os.scandir(folder):
        name = Path(entry.path)
        if name.suffix not in (SUFFIX, SPOOL_SUFFIX) or in_use(name.stem):
            continue
        with suppress(FileNotFoundError):  # the file was removed after the folder was read
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                yield name
