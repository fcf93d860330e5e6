"""What a stopped proxy leaves behind for the next one: a file a session, packets before any phone has them.

The files are those of `pinactors.pipeline.journal` (one write a line, whatever was delivered is in it),
with marks of their own. No key is in them, only its hash.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from api.proxy.packets import STREAM_ID
from pinactors.pipeline.journal import SUFFIX, Journal, Mark
from pinactors.protocol.merge import ends

SPOOL_SUFFIX = ".spool"


class Relayed(Mark, frozen=True):
    """The session begins. `ends_at` is a Unix time; `spool` the name of the file with its upload, if there is
    one and it is whole."""

    stream_id: str
    session_id: str
    owner: str
    ends_at: float
    spool: str | None = None
    content_type: str = ""
    idempotency_key: str = ""


class Moved(Mark, frozen=True):
    """From now on the packets are those of `stream_id` at `master`."""

    master: str
    stream_id: str


class Uploaded(Mark, frozen=True):
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


def create(folder: Path, relayed: Relayed, failed: Callable[[OSError], None]) -> Journal:
    """A new journal, in place of an earlier one of the same stream."""
    path = folder / f"{relayed.stream_id}{SUFFIX}"
    journal = _opened(path, os.O_CREAT | os.O_TRUNC, failed)
    journal.mark(relayed)
    return journal


def reopen(folder: Path, stream_id: str, failed: Callable[[OSError], None]) -> Journal:
    """The journal of a session that goes on, behind its last whole line."""
    path = folder / f"{stream_id}{SUFFIX}"
    journal = _opened(path, os.O_CREAT, failed)
    whole = path.read_bytes().rfind(b"\n") + 1
    os.truncate(path, whole)
    return journal


def _opened(path: Path, flags: int, failed: Callable[[OSError], None]) -> Journal:
    try:
        descriptor: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
    except OSError as error:
        failed(error)
        descriptor = None
    return Journal(path, descriptor, failed)


def load(folder: Path, stream_id: str) -> Kept | None:
    """The session `stream_id`, which may be anything a client sends; None where there is no journal of it."""
    if not STREAM_ID.fullmatch(stream_id):
        return None
    try:
        content = (folder / f"{stream_id}{SUFFIX}").read_bytes()
    except OSError:
        return None
    try:
        return _replay(content)
    except ValueError:  # not as we write it: as good as none
        return None


def _replay(content: bytes) -> Kept | None:
    kept: Kept | None = None
    for line in content.split(b"\n")[:-1]:
        kind, _, rest = line.partition(b" ")
        if kind == b"P" and kept is not None:
            kept.packets.append(rest.split(b" ", 2)[2])
        elif kind == b"M":
            mark = _DECODER.decode(rest)
            if isinstance(mark, Relayed):
                kept = Kept(mark)
            elif kept is not None and isinstance(mark, Moved):
                kept.moved = mark
            elif kept is not None:
                kept.relayed = msgspec.structs.replace(kept.relayed, spool=mark.spool, ends_at=mark.ends_at)
    return kept


def expired(folder: Path, seconds: float, in_use: Callable[[str], bool]) -> Iterator[Path]:
    """Files nobody has written to for `seconds` and that are not `in_use`, by name without suffix."""
    oldest = time.time() - seconds
    for entry in os.scandir(folder):
        name = Path(entry.path)
        if (
            name.suffix in (SUFFIX, SPOOL_SUFFIX)
            and not in_use(name.stem)
            and entry.is_file(follow_symlinks=False)
            and entry.stat().st_mtime < oldest
        ):
            yield name
