"""The file with the ids of the masters that used a data folder."""

from __future__ import annotations

from pathlib import Path

from pinactors.storage.logs.master_ids import FILE, MasterIds


def test_each_process_finds_the_one_before(tmp_path: Path) -> None:
    first = MasterIds.register(tmp_path)
    assert first.earlier == []
    first.forget_earlier()
    first.close()
    second = MasterIds.register(tmp_path)
    assert second.earlier == [first.own]
    second.forget_earlier()
    second.close()
    third = MasterIds.register(tmp_path)
    assert third.earlier == [second.own]
    third.close()


def test_one_that_ends_before_it_has_taken_over_is_found_with_those_before_it(tmp_path: Path) -> None:
    ids = []
    for _ in range(3):
        process = MasterIds.register(tmp_path)
        assert process.earlier == ids
        ids.insert(0, process.own)
        process.close()


def test_a_living_process_is_not_found(tmp_path: Path) -> None:
    living = MasterIds.register(tmp_path)
    other = MasterIds.register(tmp_path)
    assert other.earlier == []
    other.forget_earlier()
    other.close()
    living.close()
    following = MasterIds.register(tmp_path)
    assert following.earlier == [living.own]
    following.close()


def test_a_folder_that_cannot_be_used_leaves_the_sessions_to_later(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    ids = MasterIds.register(tmp_path)
    assert ids.earlier == []
    ids.forget_earlier()
    ids.close()
