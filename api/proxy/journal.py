"""What a stopped proxy leaves behind for the next one: a file a session, packets before any phone has them.

The files are like those of `pinactors.storage.log_files` (one write a line, whatever was delivered is in it),
with facts of their own. No key is in them, only its hash.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pinactors.api.proxy.packets import STREAM_ID
from pinactors.pipeline.state import Fact
from pinactors.protocol.merge import ends
from pinactors.storage.log_files import SUFFIX

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


class Journal:
    """Never raises: the first write that fails removes the file, calls `failed`, and the session goes on
    without.

    A file with a gap would resume a session with other packets than those that were delivered: none is
    better.
    """

    def __init__(self, path: Path, descriptor: int | None, failed: Callable[[OSError], None]) -> None:
        self.path = path
        self._descriptor = descriptor
        self._failed = failed

    @property
    def healthy(self) -> bool:
        return self._descriptor is not None

    def mark(self, fact: Fact) -> None:
        self._append(b"M " + msgspec.json.encode(fact) + b"\n")

    def packet(self, encoded: bytes) -> None:
        self._append(b"P - - " + encoded + b"\n")

    def release(self) -> None:
        """Closes the file and leaves it where it is."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Nothing in it is needed any more."""
        if self._descriptor is not None:
            self.release()
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                self._failed(error)

    def _append(self, line: bytes) -> None:
        if self._descriptor is None:
            return
        try:
            if os.write(self._descriptor, line) < len(line):
                raise OSError("a short write: the disk is full")
        except OSError as error:
            self.remove()
            self._failed(error)


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
        if name.suffix not in (SUFFIX, SPOOL_SUFFIX) or in_use(name.stem):
            continue
        with suppress(FileNotFoundError):  # removed since the folder was read: nothing is left to do
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                yield name
