"""Object stores in a folder and in an S3 bucket behave the same."""

from __future__ import annotations

import datetime as dt
import socket
from pathlib import Path

import pytest

from pinactors.settings import Settings, SettingUnusable
from pinactors.storage.objects import Objects, ObjectsUnavailable, S3Objects, check_storage
from tests.storage.s3_server import BUCKET


def test_what_is_put_is_got(objects: Objects, tmp_path: Path) -> None:
    objects.put("images/aa/one", b"a photograph")
    (tmp_path / "big").write_bytes(bytes(range(256)) * 50_000)  # larger than one part of an upload
    objects.put("images/bb/two", tmp_path / "big")
    assert objects.get("images/aa/one") == b"a photograph"
    assert objects.get("images/bb/two") == bytes(range(256)) * 50_000
    objects.put("images/aa/one", b"another")
    assert objects.get("images/aa/one") == b"another"


def test_what_is_not_there(objects: Objects) -> None:
    with pytest.raises(FileNotFoundError):
        objects.get("images/aa/one")
    assert objects.modified("images/aa/one") is None
    assert list(objects.list("images/")) == []
    objects.delete("images/aa/one")


def test_a_listing_has_names_and_times(objects: Objects) -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2)  # S3 reports whole seconds
    for name in ("images/aa/one", "images/bb/two", "catalogs/latest"):
        objects.put(name, b"x")
    listed = {found.name: found.modified for found in objects.list("images/")}
    assert set(listed) == {"images/aa/one", "images/bb/two"}
    assert all(modified >= before for modified in listed.values())
    assert objects.modified("images/aa/one") == listed["images/aa/one"]
    objects.delete("images/aa/one")
    assert [found.name for found in objects.list("images/")] == ["images/bb/two"]


def test_a_store_that_works_is_told_from_one_that_does_not(s3: str) -> None:
    check_storage(Settings(storage=s3))
    assert list(S3Objects(s3).list("check/")) == []
    with pytest.raises(SettingUnusable, match="not found") as refused:
        check_storage(Settings(storage=f"s3://{BUCKET}-that-is-not-there/pins"))
    assert "\n" not in str(refused.value)


def test_a_store_that_is_away(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        away = S3Objects(s3)
        for call in (lambda: away.put("a", b""), lambda: away.get("a"), lambda: away.modified("a")):
            with pytest.raises(ObjectsUnavailable) as error:
                call()
            assert "\n" not in str(error.value)


def test_a_url_that_names_no_bucket() -> None:
    pytest.importorskip("obstore")
    with pytest.raises(SettingUnusable, match="storage"):
        S3Objects("s3:///nothing")
