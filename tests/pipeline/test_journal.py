from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pinactors.pipeline import journal as journals
from pinactors.pipeline.course import Course, Outcome
from pinactors.pipeline.journal import Analysed, Arrived, Began, Ended, Journal, UploadComplete
from pinactors.protocol import View
from pinactors.storage.stored_image import StoredImage
from tests.conftest import ErrorLogs

STREAM = "a-stream_id0123456789"


class Failures(list[OSError]):
    def __call__(self, error: OSError) -> None:
        self.append(error)


def write(folder: Path, failed: Failures) -> Journal:
    journal = Journal.create(folder, Course(STREAM, "s", "owner", "key"), failed)
    journal.packet(b'{"packetType":"CONNECTION_ESTABLISHED"}')
    journal.mark(Arrived(View.FRONT, "/images/1", "abc", 3))
    journal.mark(Began(100.0))
    journal.mark(UploadComplete(190.0))
    journal.packet(b'{"a": "two words"}', "authenticity", Outcome.BASIC)
    journal.mark(Ended("pricing", Outcome.FAILED))
    return journal


def test_everything_comes_back(tmp_path: Path) -> None:
    failed = Failures()
    journal = write(tmp_path, failed)
    journal.mark(Analysed())
    course = journals.load(journal.path)
    assert course is not None
    assert (course.stream_id, course.session_id, course.owner) == (STREAM, "s", "owner")
    assert course.idempotency_key == "key"
    assert course.images == {View.FRONT: StoredImage("/images/1", "abc", 3)}
    assert (course.started_at, course.ends_at) == (100.0, 190.0)
    assert course.packets == [b'{"packetType":"CONNECTION_ESTABLISHED"}', b'{"a": "two words"}']
    assert course.outcomes == {"authenticity": Outcome.BASIC, "pricing": Outcome.FAILED}
    assert (course.degraded, course.missing) == (["authenticity"], ["pricing"])
    assert course.analysed
    assert failed == []


def test_every_cut_leaves_whole_packets(tmp_path: Path) -> None:
    journal = write(tmp_path, Failures())
    content = journal.path.read_bytes()
    whole = journals.load(journal.path)
    assert whole is not None
    lines = content.count(b"\n")
    for size in range(len(content)):
        journal.path.write_bytes(content[:size])
        course = journals.load(journal.path)
        if content[:size].count(b"\n") == 0:
            assert course is None
        else:
            assert course is not None
            assert course.packets == whole.packets[: len(course.packets)]
            assert (course.outcomes == whole.outcomes) == (content[:size].count(b"\n") == lines)


def test_a_journal_of_the_living_is_not_adopted(tmp_path: Path) -> None:
    journal = write(tmp_path, Failures())
    assert list(journals.adopt(tmp_path, Failures())) == []
    journal.release()
    ((adopted, course),) = journals.adopt(tmp_path, Failures())
    assert course.stream_id == STREAM
    adopted.remove()
    assert list(tmp_path.iterdir()) == []


def test_an_adopted_journal_goes_on_behind_its_last_whole_line(tmp_path: Path) -> None:
    journal = write(tmp_path, Failures())
    journal.release()
    with journal.path.open("ab") as file:
        file.write(b'P details full {"cut of')
    ((adopted, _),) = journals.adopt(tmp_path, Failures())
    adopted.packet(b'{"packetType":"ERROR"}')
    course = journals.load(journal.path)
    assert course is not None
    assert course.packets[-1] == b'{"packetType":"ERROR"}'
    assert "details" not in course.outcomes
    adopted.remove()


@pytest.mark.parametrize("content", [b"", b"M"])
def test_an_empty_journal_is_removed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{STREAM}{journals.SUFFIX}").write_bytes(content)
    assert list(journals.adopt(tmp_path, Failures())) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"M {nonsense\n", b"M []\n"])
def test_a_garbled_journal_is_set_aside(tmp_path: Path, content: bytes, error_logs: ErrorLogs) -> None:
    (tmp_path / f"{STREAM}{journals.SUFFIX}").write_bytes(content)
    assert list(journals.adopt(tmp_path, Failures())) == []
    assert [path.name for path in tmp_path.iterdir()] == [f"{STREAM}.refused"]
    error_logs.take("journal unreadable")


@pytest.mark.parametrize("short", [False, True])
def test_a_full_disk_ends_the_journal_and_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    failed = Failures()
    journal = write(tmp_path, failed)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if short:
            return real(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    journal.packet(b"{}")
    monkeypatch.undo()
    assert len(failed) == 1
    assert not journal.healthy
    assert list(tmp_path.iterdir()) == []
    journal.packet(b"{}")
    journal.remove()
    assert len(failed) == 1


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    failed = Failures()
    journal = Journal.create(tmp_path / "absent", Course(STREAM, "s", "", None), failed)
    journal.packet(b"{}")
    journal.remove()
    assert not journal.healthy
    assert [error.errno for error in failed] == [errno.ENOENT]


@pytest.mark.parametrize(
    "stream_id", ["../secret", "a/b", "", "x" * 200, "..", "a\0b", "unknown-but-harmless"]
)
def test_a_client_cannot_name_another_file(tmp_path: Path, stream_id: str) -> None:
    (tmp_path / "secret.journal").write_bytes(b'M {"type":"Opened"}\n')
    folder = tmp_path / "journal"
    folder.mkdir()
    assert journals.find(folder, stream_id) is None


def test_find_reads_the_journal_of_a_stream(tmp_path: Path) -> None:
    write(tmp_path, Failures()).release()
    course = journals.find(tmp_path, STREAM)
    assert course is not None
    assert len(course.packets) == 2
