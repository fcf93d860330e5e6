"""Tests that a server's catalogue follows the published versions."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from pinactors.catalog import snapshots
from pinactors.catalog.published import PublishedCatalog
from pinactors.settings import Settings, SettingUnusable
from pinactors.storage.objects import open_objects
from pinactors.supervision import Supervision
from tests.conftest import ErrorLogs

TIMEOUT = 120


def publish(settings: Settings, content: bytes) -> str:
    source = settings.data / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / "index").write_bytes(content)
    return snapshots.publish(source, open_objects(settings), lambda done, total: None)


async def test_the_latest_is_followed(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, storage=f"file:{tmp_path / 'shared'}", catalog_version="latest")
    publish(settings, b"one")
    with trio.fail_after(TIMEOUT):
        catalog = PublishedCatalog(settings)
        first = await catalog.open()
        assert (first / "index").read_bytes() == b"one"
        assert first.parent == tmp_path / "catalogs"
        async with trio.open_nursery() as nursery:
            sender, receiver = trio.open_memory_channel[Path](1)
            look = partial(catalog.check_for_update, sender.send)
            nursery.start_soon(Supervision().repeat, "latest catalogue", look, 0.01)
            publish(settings, b"two")
            second = await receiver.receive()
            nursery.cancel_scope.cancel()
        assert (second / "index").read_bytes() == b"two"
        assert (first / "index").read_bytes() == b"one", "sessions under way still read it"


async def test_a_look_that_fails_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    settings = Settings(data=tmp_path, storage=f"file:{tmp_path / 'shared'}", catalog_version="latest")
    publish(settings, b"one")
    newest, calls = PublishedCatalog._newest, []

    def fails_once(self: PublishedCatalog) -> Path | None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("nobody foresaw this")
        return newest(self)

    with trio.fail_after(TIMEOUT):
        catalog = PublishedCatalog(settings)
        await catalog.open()
        publish(settings, b"two")
        monkeypatch.setattr(PublishedCatalog, "_newest", fails_once)
        async with trio.open_nursery() as nursery:
            sender, receiver = trio.open_memory_channel[Path](1)
            look = partial(catalog.check_for_update, sender.send)
            nursery.start_soon(Supervision().repeat, "latest catalogue", look, 0.01)
            assert ((await receiver.receive()) / "index").read_bytes() == b"two"
            nursery.cancel_scope.cancel()
    assert error_logs.take("iteration failed")["task"] == "latest catalogue"


async def test_a_damaged_version_is_logged_in_each_round_and_not_used(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, storage=f"file:{tmp_path / 'shared'}", catalog_version="latest")
    publish(settings, b"one")
    catalog, used = PublishedCatalog(settings), list[Path]()

    async def use(folder: Path) -> None:
        await trio.lowlevel.checkpoint()
        used.append(folder)

    with trio.fail_after(TIMEOUT), capture_logs() as logs:
        await catalog.open()
        publish(settings, b"two")
        (stored,) = [
            path
            for path in (tmp_path / "shared/catalogs/files").rglob("*")
            if path.is_file() and path.read_bytes() == b"two"
        ]
        stored.write_bytes(b"not what it was")
        for _ in range(2):
            await catalog.check_for_update(use)
        assert [(entry["event"], "damaged" in entry["error"]) for entry in logs] == [
            ("latest catalogue not fetched", True)
        ] * 2
        assert used == []
        publish(settings, b"three")
        await catalog.check_for_update(use)
    assert [(folder / "index").read_bytes() for folder in used] == [b"three"]


async def test_a_version_stays(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, storage=f"file:{tmp_path / 'shared'}", catalog_version="latest")
    version = publish(settings, b"one")
    publish(settings, b"two")
    fixed = settings.model_copy(update={"catalog_version": version})
    assert ((await PublishedCatalog(fixed).open()) / "index").read_bytes() == b"one"


@pytest.mark.parametrize("version", ["latest", "0" * 16])
async def test_what_was_never_published_is_one_clear_line(tmp_path: Path, version: str) -> None:
    settings = Settings(data=tmp_path, catalog_version=version)
    with pytest.raises(SettingUnusable, match=f"catalog_version {version}: this version was never published"):
        await PublishedCatalog(settings).open()
