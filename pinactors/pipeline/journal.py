"""An append-only file per live session: what a killed server leaves behind for the next one.

Each line is appended with one write, packets before any reader learns of them, so that whatever was
delivered is in the file however the process ends (a page cache survives its process; nothing is synced, so
a power cut may take the last moments of unfinished sessions). A line that was cut off was never delivered
and is ignored.

`P component outcome {json}` is a packet (`-` where no component made it), `M {json}` one of the `Mark`
structs. The file is locked as long as its process lives: nobody adopts the session of a living server.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
import structlog

from pinactors.pipeline.course import Course, Outcome
from pinactors.protocol import View
from pinactors.storage.stored_image import StoredImage

SUFFIX = ".journal"

_HASH = re.compile(r'"sha256":"([0-9a-f]{64})"')
_STREAM_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Mark(msgspec.Struct, tag=True, frozen=True):
    """A fact about the session that is not a packet."""


class Opened(Mark, frozen=True):
    stream_id: str
    session_id: str
    owner: str
    idempotency_key: str | None


class Arrived(Mark, frozen=True):
    view: View
    path: str
    sha256: str
    size: int


class Began(Mark, frozen=True):
    at: float


class UploadComplete(Mark, frozen=True):
    ends_at: float


class Ended(Mark, frozen=True):
    component: str
    outcome: Outcome


class Analysed(Mark, frozen=True):
    pass


class Repeats(Mark, frozen=True):
    pass


log = structlog.get_logger(__name__)

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Opened | Arrived | Began | UploadComplete | Ended | Analysed | Repeats)


class Journal:
    """Never raises: the first write that fails removes the file, calls `failed`, and the session goes on
    without.

    A file with a gap would resume a session with other packets than those that were delivered: none is
    better.
    """

    __slots__ = ("_descriptor", "_failed", "path")

    def __init__(self, path: Path, descriptor: int | None, failed: Callable[[OSError], None]) -> None:
        self.path = path
        self._descriptor = descriptor
        self._failed = failed

    @classmethod
    def create(cls, folder: Path, course: Course, failed: Callable[[OSError], None]) -> Self:
        journal = cls(folder / f"{course.stream_id}{SUFFIX}", None, failed)
        try:
            journal._descriptor = os.open(
                journal.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(journal._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            journal._give_up(error)
        journal.mark(Opened(course.stream_id, course.session_id, course.owner, course.idempotency_key))
        return journal

    @property
    def healthy(self) -> bool:
        return self._descriptor is not None

    def mark(self, mark: Mark) -> None:
        self._append(b"M " + _ENCODER.encode(mark) + b"\n")

    def packet(self, encoded: bytes, component: str = "-", outcome: str = "-") -> None:
        self._append(f"P {component} {outcome} ".encode() + encoded + b"\n")

    @property
    def age(self) -> float:
        """Seconds since the last line; infinite where there is no file."""
        try:
            return max(0.0, time.time() - self.path.stat().st_mtime)
        except OSError:
            return math.inf

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
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.remove()
        self._failed(error)


def load(path: Path) -> Course | None:
    """The session in a journal; None when it does not even say which. Raises `OSError`."""
    return _replay(path.read_bytes())


def find(folder: Path, stream_id: str) -> Course | None:
    """The session `stream_id` when `folder` has a journal of it. The id may be anything a client sends."""
    if not _STREAM_ID.fullmatch(stream_id):
        return None
    try:
        return load(folder / f"{stream_id}{SUFFIX}")
    except OSError:
        return None


def photographs(folder: Path) -> set[str]:
    """Hashes of those that any file in `folder` refers to, the ones set aside included."""
    found: set[str] = set()
    for path in folder.iterdir():
        with suppress(OSError):
            found.update(_HASH.findall(path.read_text(errors="replace")))
    return found


def remove(folder: Path, stream_id: str) -> None:
    """The journal of a session that nobody may ask for any more. Nothing happens where there is none."""
    with suppress(OSError):
        (folder / f"{stream_id}{SUFFIX}").unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Renames a journal nothing can be done with, so that a person can look and `adopt` does not."""
    with suppress(FileNotFoundError):
        path.rename(path.with_suffix(".refused"))


def adopt(folder: Path, failed: Callable[[OSError], None]) -> Iterator[tuple[Journal, Course]]:
    """The journals in `folder` that no living process holds, each locked for us; empty ones are removed."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            continue
        journal = Journal(path, descriptor, failed)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            content = path.read_bytes()
            os.ftruncate(descriptor, content.rfind(b"\n") + 1)
            course = _replay(content)
        except OSError:  # a living process holds it
            journal.release()
            continue
        except ValueError as error:  # not as we write it
            journal.release()
            set_aside(path)
            log.error("journal unreadable", path=path.name, error=repr(error))
            continue
        if course is None:
            journal.remove()
        else:
            yield journal, course


def _replay(content: bytes) -> Course | None:
    course: Course | None = None
    for line in content.split(b"\n")[:-1]:
        kind, _, rest = line.partition(b" ")
        if kind == b"P" and course is not None:
            component, outcome, packet = rest.split(b" ", 2)
            course.packets.append(packet)
            if component != b"-":
                course.outcomes[component.decode()] = Outcome(outcome.decode())
                course.packed.add(component.decode())
        elif kind == b"M":
            course = _apply(course, _DECODER.decode(rest))
    return course


def _apply(course: Course | None, mark: Mark) -> Course | None:
    if isinstance(mark, Opened):
        return Course(mark.stream_id, mark.session_id, mark.owner, mark.idempotency_key)
    if course is None:
        return None
    match mark:
        case Arrived():
            course.images[mark.view] = StoredImage(mark.path, mark.sha256, mark.size)
        case Began():
            course.started_at = mark.at
        case UploadComplete():
            course.ends_at = mark.ends_at
        case Ended():
            course.outcomes[mark.component] = mark.outcome
        case Analysed():
            course.analysed = True
        case Repeats():
            course.repeats = True
    return course
