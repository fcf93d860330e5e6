"""What a stopped proxy leaves behind for the next one: a file a session, packets before any phone has them.

The files are those of `pinactors.storage.logs.files`, with facts of the proxy's own. No key is in them, only
its hash.
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
    """The session begins. `ends_at` is a Unix time; `spool` the name of the file with its upload, if there is
    one and it is whole."""

    stream_id: str
    session_id: str
    owner: str
    ends_at: float
    spool: str | None = None
    content_type: str = ""
    idempotency_key: str = ""


class Moved(Fact, frozen=True):
    """From now on the packets are those of `stream_id` at `master`."""

    master: str
    stream_id: str


class Uploaded(Fact, frozen=True):
    """The upload that was still coming is in."""

    spool: str
    ends_at: float


_DECODER = msgspec.json.Decoder(Relayed | Moved | Uploaded)


@dataclass(slots=True)
class Kept:
    """A session as its journal knows it; `moved` is where it was last."""

    relayed: Relayed
    packets: list[bytes] = field(default_factory=list)
    moved: Moved | None = None

    @property
    def closed(self) -> bool:
        return ends(self.packets)


def replay(entries: Iterable[Entry]) -> Kept | None:
    """The session that a journal's entries come to; None where they do not say which it is, or are not as we
    write them."""
    kept: Kept | None = None
    try:
        for kind, body in entries:
            if kind.startswith("P") and kept is not None:
                kept.packets.append(body)
            elif kind == "M":
                fact = _DECODER.decode(body)
                if isinstance(fact, Relayed):
                    kept = Kept(fact)
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
    """Files nobody has written to for `seconds` and that are not `in_use`, by name without suffix."""
    oldest = time.time() - seconds
    for entry in os.scandir(folder):
        name = Path(entry.path)
        if name.suffix not in (SUFFIX, SPOOL_SUFFIX) or in_use(name.stem):
            continue
        with suppress(FileNotFoundError):  # removed since the folder was read: nothing is left to do
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                yield name
