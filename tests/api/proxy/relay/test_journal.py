"""Journals of streams: what was delivered, and which old files are removed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinactors.api.proxy.relay import journal
from pinactors.api.proxy.relay.journal import Moved, Relayed, StoredSession, expired, replay
from pinactors.pipeline.state import entry_of, packet_entry
from pinactors.storage.logs.files import LogFiles, open_log_files
from tests.api.proxy.scripted import OPENING, STARTED


async def kept_by(journals: LogFiles, stream_id: str) -> StoredSession | None:
    entries = await journals.load(stream_id)
    return replay(entries) if entries else None


async def test_a_journal_is_what_was_delivered(tmp_path: Path) -> None:
    failures: list[OSError] = []
    relayed = Relayed("a" * 24, "s", "owner", time.time() + 9, "x.spool", "text/plain", "k")
    moved = Moved("http://b", "b" * 24)
    async with open_log_files(tmp_path, failures.append) as journals:
        journal = journals.create("a" * 24)
        await journal.append([entry_of(relayed), packet_entry(OPENING)])
        await journal.append([entry_of(moved), packet_entry(STARTED)])
        await journal.release()
        path = tmp_path / f"{'a' * 24}.journal"
        whole = path.read_bytes()
        for cut in range(len(whole) + 1):
            path.write_bytes(whole[:cut])
            kept = await kept_by(journals, "a" * 24)
            lines = whole[:cut].count(b"\n")
            assert (kept is None) == (lines == 0)
            if kept is not None:
                assert kept.relayed == relayed
                assert kept.packets == [OPENING, STARTED][: (lines >= 2) + (lines >= 4)]
                assert kept.moved == (moved if lines >= 3 else None)
                assert not kept.closed
                again = await journals.hold("a" * 24)
                await again.append([packet_entry(STARTED)])
                await again.release()
                appended = await kept_by(journals, "a" * 24)
                assert appended is not None
                assert appended.packets == [*kept.packets, STARTED]
    assert failures == []


async def test_a_new_journal_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    failures: list[OSError] = []
    (tmp_path / f"{'a' * 24}.journal").write_bytes(b"something else\n")
    async with open_log_files(tmp_path, failures.append) as journals:
        journal = journals.create("a" * 24)
        await journal.append([packet_entry(OPENING)])
        assert await journals.load("a" * 24) == [packet_entry(OPENING)]
        await journal.release()
    assert failures == []


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a" * 200, "é" * 24, "x\0y"])
async def test_a_stream_id_is_never_a_path(tmp_path: Path, name: str) -> None:
    async with open_log_files(tmp_path, raised) as journals:
        assert await kept_by(journals, name) is None


def raised(error: OSError) -> None:
    raise error


async def test_damaged_journals_and_old_files_go(tmp_path: Path) -> None:
    (tmp_path / f"{'d' * 24}.journal").write_bytes(b"M {not json}\n")
    async with open_log_files(tmp_path, raised) as journals:
        assert await kept_by(journals, "d" * 24) is None
    for name in ("old.spool", "live.spool", "new.spool", "old.txt"):
        (tmp_path / name).write_bytes(b"")
        if not name.startswith("new"):
            os.utime(tmp_path / name, (1, 1))
    found = {path.name for path in expired(tmp_path, 60, {"live"}.__contains__)}
    assert found == {"old.spool"}


def test_a_file_that_goes_while_it_is_looked_at_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spools of refused uploads may be removed at any time."""
    old = [tmp_path / f"{number}.spool" for number in range(3)]
    for path in old:
        path.touch()
        os.utime(path, (0, 0))
    scan = os.scandir

    def vanishing(folder: Path) -> Iterator[os.DirEntry[str]]:
        for entry in list(scan(folder)):
            if entry.name == "1.spool":
                os.unlink(entry.path)
            yield entry

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", vanishing)
        found = sorted(journal.expired(tmp_path, 60, lambda name: False))
    assert found == [old[0], old[2]]
