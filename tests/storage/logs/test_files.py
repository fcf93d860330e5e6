from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
import trio

from pinactors.pipeline.state import (
    Analysed,
    Arrived,
    Began,
    Ended,
    Opened,
    Outcome,
    SessionState,
    UploadComplete,
    entry_of,
    packet_entry,
    replay,
)
from pinactors.protocol import View
from pinactors.storage.logs.files import SUFFIX, LogFiles, StoredFile, entries_of, open_log_files
from pinactors.storage.logs.packet_logs import Entry
from pinactors.storage.stored_image import StoredImage
from tests.pipeline.fakes import InPlace

STREAM = "a-stream_id0123456789"
OPENING = b'{"packetType":"CONNECTION_ESTABLISHED"}'
ENTRIES = [
    entry_of(Opened(STREAM, "s", "owner", "key")),
    packet_entry(OPENING),
    entry_of(Arrived(View.FRONT, "/images/1", "abc", 3, "frontImageData")),
    entry_of(Began(100.0)),
    entry_of(UploadComplete(190.0)),
    packet_entry(b'{"a": "two words"}', "authenticity", Outcome.BASIC),
    entry_of(Ended("pricing", Outcome.FAILED)),
]


class Failures(list[OSError]):
    def __call__(self, error: OSError) -> None:
        self.append(error)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def files(folder: Path, failed: Failures | None = None) -> LogFiles:
    return LogFiles(folder, InPlace(), failed if failed is not None else Failures())


async def write(folder: Path, failed: Failures | None = None) -> StoredFile:
    stored = files(folder, failed).create(STREAM)
    await stored.append(ENTRIES[:2])
    for entry in ENTRIES[2:]:
        await stored.append([entry])
    return stored


async def test_a_removed_folder_is_made_again(tmp_path: Path) -> None:
    folder, failed = tmp_path / "journal", Failures()
    stored = await write(folder, failed)
    assert (names(folder), stored.healthy, failed) == ([STREAM + SUFFIX], True, [])
    shutil.rmtree(folder)
    assert await files(folder).photographs() == set()


def load(folder: Path) -> SessionState | None:
    return replay(entries_of((folder / f"{STREAM}{SUFFIX}").read_bytes()))


async def test_everything_comes_back(tmp_path: Path) -> None:
    failed = Failures()
    stored = await write(tmp_path, failed)
    await stored.append([entry_of(Analysed())])
    state = load(tmp_path)
    assert state is not None
    assert (state.stream_id, state.session_id, state.owner) == (STREAM, "s", "owner")
    assert state.idempotency_key == "key"
    assert state.images == {View.FRONT: StoredImage("/images/1", "abc", 3)}
    assert state.fields == {View.FRONT: "frontImageData"}
    assert (state.started_at, state.ends_at) == (100.0, 190.0)
    assert state.packets == [OPENING, b'{"a": "two words"}']
    assert state.outcomes == {"authenticity": Outcome.BASIC, "pricing": Outcome.FAILED}
    assert (state.degraded, state.missing) == (["authenticity"], ["pricing"])
    assert state.analysed
    assert failed == []


async def test_every_cut_leaves_whole_packets(tmp_path: Path) -> None:
    await write(tmp_path)
    path = tmp_path / f"{STREAM}{SUFFIX}"
    content = path.read_bytes()
    whole = load(tmp_path)
    assert whole is not None
    lines = content.count(b"\n")
    for size in range(len(content)):
        path.write_bytes(content[:size])
        state = load(tmp_path)
        if content[:size].count(b"\n") == 0:
            assert state is None
        else:
            assert state is not None
            assert state.packets == whole.packets[: len(state.packets)]
            assert (state.outcomes == whole.outcomes) == (content[:size].count(b"\n") == lines)


async def test_a_log_of_the_living_is_not_adopted(tmp_path: Path) -> None:
    stored = await write(tmp_path)
    assert await files(tmp_path).adopt() == []
    await stored.release()
    ((adopted, entries),) = await files(tmp_path).adopt()
    assert adopted.stream_id == STREAM
    assert entries == ENTRIES
    assert adopted.age >= 0
    await adopted.remove()
    assert names(tmp_path) == []


async def test_an_adopted_log_goes_on_behind_its_last_whole_line(tmp_path: Path) -> None:
    stored = await write(tmp_path)
    await stored.release()
    with (tmp_path / f"{STREAM}{SUFFIX}").open("ab") as file:
        file.write(b'P details full {"cut of')
    ((adopted, _),) = await files(tmp_path).adopt()
    await adopted.append([packet_entry(b'{"packetType":"ERROR"}')])
    state = load(tmp_path)
    assert state is not None
    assert state.packets[-1] == b'{"packetType":"ERROR"}'
    assert "details" not in state.outcomes
    await adopted.release()


@pytest.mark.parametrize("content", [b"", b"M"])
async def test_an_empty_log_is_removed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{STREAM}{SUFFIX}").write_bytes(content)
    assert await files(tmp_path).adopt() == []
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"M {nonsense\n", b"M []\n", b'M {"type":"Opened"}\n'])
async def test_a_garbled_log_cannot_be_replayed_and_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{STREAM}{SUFFIX}").write_bytes(content)
    ((stored, entries),) = await files(tmp_path).adopt()
    with pytest.raises(ValueError):
        replay(entries)
    await stored.set_aside()
    assert names(tmp_path) == [f"{STREAM}.refused"]
    assert await files(tmp_path).adopt() == []


@pytest.mark.parametrize("short", [False, True])
async def test_a_full_disk_ends_the_log_and_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    failed = Failures()
    stored = await write(tmp_path, failed)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if short:
            return real(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        await stored.append([packet_entry(b"{}")])
    assert len(failed) == 1
    assert not stored.healthy
    assert names(tmp_path) == []
    await stored.append([packet_entry(b"{}")])
    await stored.remove()
    assert len(failed) == 1
    assert names(tmp_path) == []


async def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    failed = Failures()
    stored = files(tmp_path / "not mounted" / "journal", failed).create(STREAM)
    await stored.append(ENTRIES)
    await stored.remove()
    assert not stored.healthy
    assert [error.errno for error in failed] == [errno.ENOENT]


@pytest.mark.parametrize(
    "stream_id", ["../secret", "a/b", "", "x" * 200, "..", "a\0b", "unknown-but-harmless"]
)
async def test_a_client_cannot_name_another_file(tmp_path: Path, stream_id: str) -> None:
    (tmp_path / "secret.journal").write_bytes(b'M {"type":"Opened"}\n')
    folder = tmp_path / "journal"
    folder.mkdir()
    assert await files(folder).load(stream_id) is None


async def test_load_reads_the_log_of_a_stream_whoever_holds_it(tmp_path: Path) -> None:
    await write(tmp_path)
    assert await files(tmp_path).load(STREAM) == ENTRIES


async def test_a_log_that_cannot_be_read_now_is_not_called_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptor_left(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", no_descriptor_left)
    with pytest.raises(OSError, match="Too many open files"):
        await files(tmp_path).load(STREAM)


async def test_photographs_are_those_that_any_log_names(tmp_path: Path) -> None:
    held, refused = "a" * 64, "b" * 64
    stored = files(tmp_path).create(STREAM)
    await stored.append([ENTRIES[0], entry_of(Arrived(View.FRONT, "/x", held, 1))])
    (tmp_path / "other.refused").write_text(f'M {{"sha256":"{refused}"}}\n')
    assert await files(tmp_path).photographs() == {held, refused}


async def test_sealing_leaves_nothing(tmp_path: Path) -> None:
    stored = await write(tmp_path)
    await stored.seal(Entry("P - -", b"{}"))
    assert names(tmp_path) == []


async def test_files_are_written_by_a_thread_that_outlives_a_cancellation(tmp_path: Path) -> None:
    """A task that is cancelled can still store and release its log."""
    failed = Failures()
    with trio.fail_after(60):
        with trio.CancelScope() as scope:
            async with open_log_files(tmp_path / "new", failed) as logs:
                stored = logs.create(STREAM)
                await stored.append(ENTRIES)
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await stored.release()
        async with open_log_files(tmp_path / "new", failed) as logs:
            ((adopted, entries),) = await logs.adopt()
            assert entries == ENTRIES
            await adopted.remove()
    assert failed == []
